"""Scores of an independent judge: how well pictures match their captions, and whether objects are sound.

python -m benchmarks.quality --judge FOLDER [--samples N] [--prompts N] [--workers N] [--write docs/pocket.md]

The judge scores samples of the prior, Gaussians and textured meshes of finished runs, and true objects, which are the
upper bound. All captions come from one pool that no training contains. They are scored in two wordings: in words that
the prior knows, and with at least one word that it never saw. Finished runs are kept and a stopped run resumes, so the
table can be made in pieces. The program also prints which captions were confused.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report import describe_machine, write_block
from benchmarks.runs import add_workers, make_runs

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sds3d.config.schema import Config, RendererConfig
    from sds3d.evaluation.judge import Judge
    from sds3d.interfaces import Prior

ROOT = Path(__file__).resolve().parent.parent
JUDGE = ROOT / "sds3d" / "evaluation" / "weights"
SIZE = 200  # of the pool
NUM_VIEWS = 4  # in one ring that starts at the front; as many as the prior generates together
RESOLUTION = 128  # pixels, of assets and true objects
MAX_MISSES = 40  # rows in the table of confusions
HEADINGS = (
    "captions in",
    "pictures of",
    "number",
    "R-precision, views together",
    "each view alone",
    "view consistency",
    "cosine of opposite views",
    "worst haze",
    "in one piece",
    "second faces",
)


@dataclass(frozen=True)
class Pictures:
    """Views of K objects, made from the first K captions of the pool in that order."""

    name: str
    images: Tensor  # [K, NUM_VIEWS, 3, H, W] in [0, 1]
    alphas: Tensor | None = None  # [K, NUM_VIEWS, 1, H, W]; samples of the prior have none


def prior_samples(prior: Prior, cfg: Config, captions: Sequence[str]) -> Pictures:
    """Views that the prior generates for `captions`."""
    import torch

    from sds3d.cameras import turntable
    from sds3d.imaging.png import BACKGROUND
    from sds3d.priors.sample import sample_views

    device = prior.alphas_cumprod.device
    cameras = turntable(NUM_VIEWS, prior.resolution).to(device)
    backgrounds = torch.full((NUM_VIEWS, 3), BACKGROUND, device=device)
    images = []
    for index, caption in enumerate(captions):
        generator = torch.Generator().manual_seed(cfg.seed * SIZE + index)
        views = sample_views(prior, caption, cfg.negative_prompt, cameras, backgrounds, generator)
        images.append(views.float().cpu())
        print(f"sample {index + 1} of {len(captions)}: {caption}", file=sys.stderr)
    return Pictures("samples of the prior", torch.stack(images))


def finished_assets(runs: Sequence[Path], cfg: RendererConfig, device: torch.device) -> list[Pictures]:
    """The Gaussians of `runs`, and their textured meshes."""
    import torch

    from sds3d.cameras import turntable
    from sds3d.imaging.png import BACKGROUND
    from sds3d.mesh.exporters.glb import read_glb
    from sds3d.mesh.render import render_mesh
    from sds3d.renderers import build_renderer
    from sds3d.representations.gaussians.ply import read_splat_ply

    cameras = turntable(NUM_VIEWS, RESOLUTION).to(device)
    backgrounds = torch.full((NUM_VIEWS, 3), BACKGROUND, device=device)
    splats, meshes = [], []
    for run in runs:
        scene, mode = read_splat_ply((run / "splats.ply").read_bytes())
        render = build_renderer(replace(cfg, rasterize_mode=mode), scene.to(device), device)
        with torch.no_grad():
            splats.append(render(cameras, backgrounds))
        meshes.append(render_mesh(read_glb(run / "mesh.glb").to(device), cameras, backgrounds))
    return [
        Pictures(
            name,
            torch.stack([render.colors.movedim(-1, 1).clamp(0, 1).cpu() for render in renders]),
            torch.stack([render.alphas.movedim(-1, 1).cpu() for render in renders]),
        )
        for name, renders in (("optimized Gaussians", splats), ("textured meshes", meshes))
    ]


def true_objects() -> Pictures:
    """The objects for which the captions of the pool were generated."""
    import torch

    from sds3d.cameras import turntable
    from sds3d.evaluation.pool import render_pool
    from sds3d.imaging.png import BACKGROUND

    colors, alphas = render_pool(SIZE, turntable(NUM_VIEWS, RESOLUTION), torch.device("cpu"))
    return Pictures("true objects", colors + (1 - alphas) * BACKGROUND, alphas)


def embed(judge: Judge, pictures: Pictures) -> Tensor:
    """The judge's embeddings of all views, [K, NUM_VIEWS, D] unit vectors."""
    import torch

    return torch.stack([judge.embed_images(views) for views in pictures.images]).cpu()


def line(pictures: Pictures, embedded: Tensor, texts: Tensor, truth: Pictures) -> str:
    """A row of the table; `texts` [SIZE, D] are the embedded captions of the pool, `truth` its objects."""
    import torch

    from sds3d.evaluation.metrics import r_precision, view_consistency, views_together

    count = len(embedded)
    correct = torch.arange(count)
    together = r_precision(views_together(embedded), texts, correct)
    alone = r_precision(embedded.flatten(0, 1), texts, correct.repeat_interleave(NUM_VIEWS))
    consistency = view_consistency(embedded)
    cells = [f"{together:.3f}", f"{alone:.3f}", f"{consistency.score:.3f}", f"{consistency.opposite:.3f}"]
    return f"| {' | '.join([pictures.name, str(count), *cells, *shape_cells(pictures, truth)])} |"


def confusions(names: Sequence[str], embedded: Sequence[Tensor], texts: Tensor, captions: Sequence[str]) -> str:
    """A table of the captions that are not the nearest to what was made from them, with the nearest other caption.

    There is a column for each of `names`, of the views `embedded` [K, NUM_VIEWS, D]. A cell is "" where the correct
    caption is the nearest, and "-" where nothing was made. The last column is of true objects; a caption that is
    confused only there has no row.
    """
    confused = [confused_with(views, texts) for views in embedded]
    counts = [len(views) for views in embedded]
    wrong = sorted(set().union(*confused[:-1]))
    rows = [["caption", *names], ["---"] * (1 + len(names))]
    for index in wrong[:MAX_MISSES]:
        cells = [
            "-" if index >= count else captions[found[index]] if index in found else ""
            for found, count in zip(confused, counts, strict=True)
        ]
        rows.append([captions[index], *cells])
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    left = len(wrong) - MAX_MISSES
    return "\n".join(["Confused captions:", "", *lines, *([f"and {left} more"] if left > 0 else [])])


def confused_with(embedded: Tensor, texts: Tensor) -> dict[int, int]:
    """For each object whose correct caption is not the nearest: the index of the nearest other caption.

    Distances are those of the views together. A tie counts as a confusion.
    """
    import torch

    from sds3d.evaluation.metrics import views_together

    cosines = views_together(embedded) @ texts.T
    correct = cosines.diagonal().clone()
    cosines.fill_diagonal_(-torch.inf)
    nearest, others = cosines.max(1)
    return {index: int(others[index]) for index in (nearest >= correct).nonzero()[:, 0].tolist()}


def shape_cells(pictures: Pictures, truth: Pictures) -> list[str]:
    """Cells: the worst haze, how many objects are in one piece, how many have a second face."""
    from sds3d.evaluation.metrics import components, has_second_face, haze

    if pictures.alphas is None:
        return ["", "", ""]
    count = len(pictures.images)
    worst = max(haze(alphas) for alphas in pictures.alphas)
    whole = sum(components(alphas) == 1 for alphas in pictures.alphas)
    faces = sum(has_second_face(*pair) for pair in zip(sides(pictures), sides(truth)[:count], strict=True))
    return [f"{worst:.4f}", f"{whole} of {count}", f"{faces} of {count}"]


def sides(pictures: Pictures) -> list[float]:
    """The color difference between front and back of each object."""
    from sds3d.evaluation.metrics import side_difference

    back = NUM_VIEWS // 2
    return [
        side_difference(views[0], views[back], alphas[0] * alphas[back])
        for views, alphas in zip(pictures.images, pictures.alphas, strict=True)
    ]


def check_pool(folder: Path) -> None:
    """Raises UserError if the judge in `folder` is ours and was trained with another pool."""
    from sds3d.errors import UserError
    from sds3d.evaluation.judge import OURS, TRAIN, read_config
    from sds3d.procedural.objects.held_out import pool_id

    config = read_config(folder)
    if config.get("model_type") == OURS and config.get("pool") != pool_id():
        raise UserError(
            f"{folder}: the objects or their captions have changed since this judge was trained, so it may have seen "
            f"captions of the pool; train it again with `{TRAIN}`"
        )


@dataclass(frozen=True)
class Comparison:
    """The options of the program."""

    judge: Path  # folder
    samples: int
    prompts: int
    config: str
    workers: int | None
    out: Path  # of the runs
    write: Path | None


def compare(options: Comparison) -> tuple[str, str]:
    """The table of scores with its notes, and the tables of confusions; makes the missing runs."""
    from sds3d.config.load import load_config
    from sds3d.errors import UserError
    from sds3d.evaluation.judge import load_judge
    from sds3d.native.devices import begin_context, resolve_device
    from sds3d.priors import build_prior
    from sds3d.procedural.objects.held_out import held_out_pool

    check_pool(options.judge)
    pool = held_out_pool()
    cfg = load_config(Path(options.config), [f"out={options.out}"], pool[0].plain)
    begin_context(cfg.device)
    device = resolve_device(cfg.device)
    judge = load_judge(options.judge, device)
    prior = build_prior(cfg.prior, device)
    if prior.num_views != NUM_VIEWS:
        raise UserError(f"--config {options.config}: expected a prior of {NUM_VIEWS} views, got {prior.num_views}")
    truth = true_objects()
    lines = [f"| {' | '.join(HEADINGS)} |", f"|---|---|{' --: |' * (len(HEADINGS) - 2)}"]
    confused = []
    for words, captions in (("trained", [held.plain for held in pool]), ("held-out", [held.caption for held in pool])):
        texts = judge.embed_texts(captions).cpu()
        runs = make_runs(captions[: options.prompts], options.config, options.out, options.workers)
        assets = finished_assets(runs, cfg.renderer, device)
        rows = [prior_samples(prior, cfg, captions[: options.samples]), *assets, truth]
        embedded = [embed(judge, pictures) for pictures in rows]
        for pictures, views in zip(rows, embedded, strict=True):
            lines.append(f"| {words} words {line(pictures, views, texts, truth)}")
        confused.append(confusions([pictures.name for pictures in rows], embedded, texts, captions))
    notes = (
        f"The nearest of {SIZE} captions by {judge.name}; {NUM_VIEWS} views of each; config {options.config}; "
        f"{describe_machine(cfg.device)}; {datetime.date.today().isoformat()}."
    )
    table = "\n".join(lines)
    return f"{table}\n\n{textwrap.fill(notes, 120)}", "\n\n".join(confused)


def parse() -> Comparison:
    counts = range(2, SIZE + 1)  # view consistency compares different objects, so it needs two
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", type=Path, default=JUDGE, metavar="FOLDER", help="ours, or a CLIP model")
    parser.add_argument("--samples", type=int, choices=counts, default=SIZE, metavar="N", help=f"default: {SIZE}")
    parser.add_argument("--prompts", type=int, choices=counts, default=48, metavar="N", help="assets (default: 48)")
    parser.add_argument("--config", default="asset", metavar="NAME", help="of the prior and the runs (default: asset)")
    add_workers(parser)
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "quality", metavar="FOLDER", help="of the runs")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also replace the block of quality in FILE")
    return Comparison(**vars(parser.parse_args()))


def main() -> int:
    from sds3d.errors import UserError

    options = parse()
    try:
        block, confused = compare(options)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{block}\n\n{confused}")
    if options.write:
        write_block(options.write, "quality", block)
    return 0


if __name__ == "__main__":
    sys.exit(main())
