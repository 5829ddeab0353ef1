"""A contact sheet of the training objects: every kind, or one form of scene, from the side and from above.

python -m benchmarks.objects [--out outputs/objects.png] [--kinds NAME ...] [--samples 1] [--seed 0] [--below]
python -m benchmarks.objects --scenes surface --samples 60 --out outputs/surfaces.png

A cell shows one object from elevations of 15 and 60 degrees (with --below, also from -20), its name and its caption.
"""

from __future__ import annotations

import argparse
import math
import random
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from sds3d.procedural.parts import Part

TILE, LABEL, COLUMNS = 128, 46, 6  # pixels, pixels, cells a row
BACKGROUND = 0.55


def render_object(parts: list[Part], elevations_deg: Sequence[float], azimuth_deg: float = 35.0) -> Image:
    """Views of an object side by side, [TILE, TILE * len(elevations_deg)] pixels."""
    import torch
    from PIL import Image

    from sds3d.cameras import STANDARD_DISTANCE, STANDARD_FOV_DEG, orbit_cameras
    from sds3d.imaging.png import to_uint8
    from sds3d.procedural.parts import pack
    from sds3d.procedural.tracer import trace

    elevations = torch.deg2rad(torch.tensor(elevations_deg))
    azimuths = torch.full_like(elevations, azimuth_deg).deg2rad()
    field_of_view = math.radians(STANDARD_FOV_DEG)
    cameras = orbit_cameras(azimuths, elevations, torch.full_like(elevations, STANDARD_DISTANCE), field_of_view, TILE)
    rgba = trace(torch.from_numpy(pack(parts))[None], cameras)[0]
    views = rgba[..., :3] + BACKGROUND * (1 - rgba[..., 3:])
    return Image.fromarray(to_uint8(torch.cat(list(views), 1)))


def draw_sheet(cells: Sequence[tuple[str, list[Part]]], elevations_deg: Sequence[float]) -> Image:
    """A picture with a cell for each text and object, COLUMNS in a row."""
    from PIL import Image, ImageDraw, ImageFont

    width, height = TILE * len(elevations_deg) + 4, TILE + LABEL
    sheet = Image.new("RGB", (COLUMNS * width, -(-len(cells) // COLUMNS) * height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for index, (text, parts) in enumerate(cells):
        x, y = index % COLUMNS * width, index // COLUMNS * height
        sheet.paste(render_object(parts, elevations_deg), (x, y))
        pen.multiline_text((x + 2, y + TILE), textwrap.fill(text, width // 6)[:130], fill="black", font=font, spacing=1)
    return sheet


def main() -> int:
    from sds3d.files import atomic_write
    from sds3d.procedural.objects import CATEGORIES, sample_object, scenes
    from sds3d.procedural.parts import normalize

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/objects.png"), metavar="FILE")
    parser.add_argument("--kinds", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--scenes", choices=tuple(scenes.SHARES), help="samples of this form of scene instead of kinds")
    parser.add_argument(
        "--samples", type=int, default=1, metavar="N", help="samples of each kind, or of the form of scene"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--below", action="store_true", help="add a view from an elevation of -20 degrees")
    args = parser.parse_args()

    rng = random.Random(args.seed)
    cells = []
    if args.scenes:
        for _ in range(args.samples):
            scene = scenes.sample_scene(rng, args.scenes)
            cells.append((scene.say(rng), normalize(scene.parts)))
    else:
        for kind in args.kinds or CATEGORIES:
            for _ in range(args.samples):
                parts, (text,) = sample_object(rng, kind, num_captions=1)
                cells.append((f"{kind}: {text}", parts))
    sheet = draw_sheet(cells, (15.0, 60.0, -20.0) if args.below else (15.0, 60.0))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(args.out, lambda path: sheet.save(path, "PNG"))
    print(args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
