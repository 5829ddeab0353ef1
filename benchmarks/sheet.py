"""One picture of what the program makes: a row of six views of the finished mesh for each of twelve prompts.

python benchmarks/sheet.py [--out FOLDER] [--config NAME] [--picture docs/sheet.png]

Finished runs are kept and a stopped one goes on, so it can be made in pieces.
"""

from __future__ import annotations

import argparse
import io
import json
import shlex
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

    from sds3d.interfaces import TexturedMesh

ROOT = Path(__file__).resolve().parent.parent
NUM_VIEWS = 6
TILE = 144  # pixels
LABEL = 168  # pixels
MAX_BYTES = 1_200_000


@dataclass(frozen=True)
class Row:
    """A prompt, and which of its words no training caption contains."""

    prompt: str
    unseen: tuple[str, ...] = ()


ROWS = (
    Row("a red mushroom with white dots"),
    Row("a blue chair"),
    Row("a yellow rubber duck"),
    Row("a snowman with a black hat"),
    Row("a red car"),
    Row("a pink donut with sprinkles"),
    Row("a golden teapot"),
    Row("a brown teddy bear"),
    Row("a crimson toadstool with ivory spots", unseen=("crimson", "toadstool", "ivory")),
    Row("an azure automobile", unseen=("azure", "automobile")),
    Row("a violet armchair", unseen=("violet", "armchair")),
    Row("a cottage with an emerald roof", unseen=("cottage", "emerald")),
)


def finished_run(prompt: str, config: str, out: Path) -> Path | None:
    """The folder of the finished run of `prompt`, made now unless it is there already; None if it was stopped."""
    from sds3d.cli.main import main as sds3d
    from sds3d.runs import RunFolder, run_name
    from sds3d.settings import load_config

    cfg = load_config(Path(config), [f"out={out}"], prompt)
    path = out / run_name(cfg)
    if not RunFolder(path, cfg).finished:
        code = sds3d(["generate", "--config", config, f"out={out}", "--", prompt])
        if code:
            return None
    return path


def draw_row(row: Row, mesh: TexturedMesh) -> Image:
    """The prompt on the left and six views around the mesh, [TILE, LABEL + 6 TILE] pixels."""
    import torch
    from PIL import Image, ImageDraw, ImageFont

    from sds3d.cameras import turntable
    from sds3d.mesh.raster import render_mesh
    from sds3d.pictures import BACKGROUND, to_uint8

    grey = round(255 * BACKGROUND)
    strip = Image.new("RGB", (LABEL + NUM_VIEWS * TILE, TILE), (grey, grey, grey))
    text = textwrap.fill(row.prompt, 20) + ("\n(unseen words)" if row.unseen else "")
    position = (LABEL // 2, TILE // 2)
    ImageDraw.Draw(strip).multiline_text(
        position, text, fill=(40, 40, 40), font=ImageFont.load_default(14), anchor="mm", align="center"
    )
    backgrounds = torch.full((NUM_VIEWS, 3), BACKGROUND)
    views = render_mesh(mesh, turntable(NUM_VIEWS, TILE), backgrounds, supersample=3).colors
    strip.paste(Image.fromarray(to_uint8(torch.cat(list(views), 1))), (LABEL, 0))
    return strip


def figures(prompt: str, report: dict[str, Any]) -> str:
    """A row of the table that is printed."""
    watertight = "yes" if report["watertight"] else "no"
    return f"| {prompt} | {report['psnr_db']:.1f} | {report['iou']:.3f} | {report['components']} | {watertight} |"


def encode(picture: Image, max_bytes: int) -> bytes:
    """A PNG file of at most `max_bytes`, with as many colours as fit."""
    from PIL import Image

    for colors in (None, 256, 128, 64, 32, 16):
        file = io.BytesIO()
        reduced = picture.quantize(colors, dither=Image.Dither.NONE) if colors else picture
        reduced.save(file, "PNG", optimize=True)
        if file.tell() <= max_bytes:
            return file.getvalue()
    raise ValueError(f"the picture does not fit in {max_bytes} bytes; choose a smaller TILE")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "sheet", metavar="FOLDER", help="of the runs")
    parser.add_argument("--config", default="asset", metavar="NAME", help="as for sds3d generate (default: asset)")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "sheet.png", metavar="FILE")
    args = parser.parse_args()

    from PIL import Image

    from sds3d.errors import UserError
    from sds3d.files import atomic_write
    from sds3d.mesh.export import read_glb

    strips = []
    print("| prompt | PSNR dB | IoU | components | watertight |\n|---|--:|--:|--:|---|")
    for row in ROWS:
        try:
            run = finished_run(row.prompt, args.config, args.out)
        except UserError as error:
            sys.exit(f"error: {error}")
        if run is None:
            print(f"go on with: {shlex.join([sys.executable, *sys.argv])}", file=sys.stderr)
            return 1
        strips.append(draw_row(row, read_glb(run / "mesh.glb")))
        print(figures(row.prompt, json.loads((run / "report.json").read_text(encoding="utf-8"))))
    sheet = Image.new("RGB", (strips[0].width, TILE * len(strips)))
    for index, strip in enumerate(strips):
        sheet.paste(strip, (0, TILE * index))
    atomic_write(args.picture, encode(sheet, MAX_BYTES))
    print(args.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
