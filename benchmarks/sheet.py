"""A contact sheet of assets: a row with six views of the finished mesh for each prompt.

python -m benchmarks.sheet [NAME] [--workers N] [--out FOLDER] [--config NAME] [--picture FILE]

NAME is `twelve` (docs/sheet.png) or `pocket` (docs/pocket-sheet.png): 48 prompts, most with something to check by eye.
Finished runs are kept and a stopped run resumes, so the sheet can be made in pieces.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.pocket_prompts import PROMPTS
from benchmarks.runs import add_workers, make_runs

if TYPE_CHECKING:
    from PIL.Image import Image

    from sds3d.interfaces import TexturedMesh

ROOT = Path(__file__).resolve().parent.parent
NUM_VIEWS = 6


@dataclass(frozen=True)
class Row:
    """A prompt, and those of its words that no training caption contains."""

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


@dataclass(frozen=True)
class Sheet:
    """Contents and layout of a picture."""

    picture: str  # file in docs/
    labels: dict[str, str]  # prompt -> text next to its row
    columns: int  # of rows
    tile: int  # pixels of a view
    label: int  # pixels
    letters: int  # in a line of a label
    font: int  # pixels
    max_bytes: int


def twelve() -> Sheet:
    """The prompts of the README."""
    labels = {row.prompt: row.prompt + ("\n(unseen words)" if row.unseen else "") for row in ROWS}
    return Sheet("sheet.png", labels, 1, tile=144, label=168, letters=20, font=14, max_bytes=1_200_000)


def pocket() -> Sheet:
    """The prompts of `pocket_prompts.py`, numbered, each with the property that it tests."""
    pairs = [(prompt, tested) for tested, prompts in PROMPTS.items() for prompt in prompts]
    labels = {prompt: f"{number}. {prompt}\n({tested})" for number, (prompt, tested) in enumerate(pairs, 1)}
    return Sheet("pocket-sheet.png", labels, 2, tile=96, label=144, letters=22, font=11, max_bytes=1_500_000)


SHEETS = {"twelve": twelve, "pocket": pocket}


def draw_row(sheet: Sheet, prompt: str, mesh: TexturedMesh) -> Image:
    """The label on the left and six views of the mesh, [tile, label + 6 tile] pixels."""
    import torch
    from PIL import Image, ImageDraw, ImageFont

    from sds3d.cameras import turntable
    from sds3d.imaging.png import BACKGROUND, to_uint8
    from sds3d.mesh.render import render_mesh

    gray = round(255 * BACKGROUND)
    strip = Image.new("RGB", (sheet.label + NUM_VIEWS * sheet.tile, sheet.tile), (gray, gray, gray))
    text = "\n".join(textwrap.fill(line, sheet.letters) for line in sheet.labels[prompt].splitlines())
    ImageDraw.Draw(strip).multiline_text(
        (sheet.label // 2, sheet.tile // 2),
        text,
        fill=(40, 40, 40),
        font=ImageFont.load_default(sheet.font),
        anchor="mm",
        align="center",
    )
    device = mesh.vertices.device
    backgrounds = torch.full((NUM_VIEWS, 3), BACKGROUND, device=device)
    cameras = turntable(NUM_VIEWS, sheet.tile).to(device)
    views = render_mesh(mesh, cameras, backgrounds, supersample=3).colors
    strip.paste(Image.fromarray(to_uint8(torch.cat(list(views), 1))), (sheet.label, 0))
    return strip


def stack(strips: list[Image], columns: int) -> Image:
    """All rows in `columns` of equal height, ordered from top to bottom, then from left to right."""
    from PIL import Image

    width, height = strips[0].size
    rows = -(-len(strips) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), strips[0].getpixel((0, 0)))
    for index, strip in enumerate(strips):
        sheet.paste(strip, (index // rows * width, index % rows * height))
    return sheet


def figures(prompt: str, report: dict[str, Any]) -> str:
    """A row of the printed table."""
    watertight = "yes" if report["watertight"] else "no"
    return f"| {prompt} | {report['psnr_db']:.1f} | {report['iou']:.3f} | {report['components']} | {watertight} |"


def encode(picture: Image, max_bytes: int) -> bytes:
    """A PNG file of at most `max_bytes`, with as many colors as fit; ValueError if even 16 colors do not."""
    from PIL import Image

    for colors in (None, 256, 128, 64, 32, 16):
        file = io.BytesIO()
        reduced = picture.quantize(colors, dither=Image.Dither.NONE) if colors else picture
        reduced.save(file, "PNG", optimize=True)
        if file.tell() <= max_bytes:
            return file.getvalue()
    raise ValueError(f"the picture does not fit in {max_bytes} bytes; choose a smaller tile")


def main() -> int:
    from sds3d.errors import UserError

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=tuple(SHEETS), default="twelve", help="default: twelve")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "sheet", metavar="FOLDER", help="of the runs")
    parser.add_argument("--config", default="asset", metavar="NAME", help="as for sds3d generate (default: asset)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="default: in docs/")
    add_workers(parser)
    args = parser.parse_args()
    sheet = SHEETS[args.name]()
    try:
        runs = make_runs(list(sheet.labels), args.config, args.out, args.workers)
    except UserError as error:
        sys.exit(f"error: {error}")

    from sds3d.files import atomic_write
    from sds3d.mesh.exporters.glb import read_glb
    from sds3d.native.devices import resolve_device

    device = resolve_device("auto")
    strips = []
    print("| prompt | PSNR dB | IoU | components | watertight |\n|---|--:|--:|--:|---|")
    for prompt, run in zip(sheet.labels, runs, strict=True):
        strips.append(draw_row(sheet, prompt, read_glb(run / "mesh.glb").to(device)))
        print(figures(prompt, json.loads((run / "report.json").read_text(encoding="utf-8"))))
    picture = args.picture or ROOT / "docs" / sheet.picture
    atomic_write(picture, encode(stack(strips, sheet.columns), sheet.max_bytes))
    print(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
