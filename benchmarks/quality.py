"""How well a judge that is not the prior finds captions from pictures, and whether assets are one sound thing.

python -m benchmarks.quality --judge FOLDER [--samples N] [--prompts N] [--jobs N] [--write docs/pocket.md]

Of what the prior draws by itself, of the Gaussians and the textured meshes of finished runs, and of true objects, which
are the ceiling; all from the captions of one pool, which no training contains: once in words that the prior knows, once
each with a word that it never saw. Finished runs are kept and a stopped one goes on, so it can be made in pieces. What
was taken for what is printed at the end.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report import describe_machine, write_block
from benchmarks.runs import add_jobs, make_runs

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sds3d.config.schema import Config, RendererConfig
    from sds3d.evaluation.judge import Judge
    from sds3d.interfaces import Prior

ROOT = Path(__file__).resolve().parent.parent
JUDGE = ROOT / "sds3d" / "evaluation" / "weights"
SIZE = 200  # of the pool
NUM_VIEWS = 4  # in one ring, from the front on: as many as the prior draws together
RESOLUTION = 128  # pixels, of assets and true objects
MAX_MISSES = 40  # lines that say what was taken for what
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
    """Views of things that the first K captions of the pool are said of, in that order."""

    name: str
    images: Tensor  # [K, NUM_VIEWS, 3, H, W] in [0, 1]
    alphas: Tensor | None = None  # [K, NUM_VIEWS, 1, H, W]; what the prior draws has none


def prior_samples(prior: Prior, cfg: Config, captions: Sequence[str]) -> Pictures:
    """What the prior draws by itself."""
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
    """The Gaussians of `runs`, and the textured meshes that were made of them."""
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
        scene = read_splat_ply((run / "splats.ply").read_bytes()).to(device)
        with torch.no_grad():
            splats.append(build_renderer(cfg, scene, device)(cameras, backgrounds))
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
    """The objects that the captions of the pool were made for."""
    import torch

    from sds3d.cameras import turntable
    from sds3d.evaluation.pool import render_pool
    from sds3d.imaging.png import BACKGROUND

    colors, alphas = render_pool(SIZE, turntable(NUM_VIEWS, RESOLUTION), torch.device("cpu"))
    return Pictures("true objects", colors + (1 - alphas) * BACKGROUND, alphas)


def embed(judge: Judge, pictures: Pictures) -> Tensor:
    """What the judge makes of each view, [K, NUM_VIEWS, D] unit vectors."""
    import torch

    return torch.stack([judge.embed_images(views) for views in pictures.images]).cpu()


def line(pictures: Pictures, embedded: Tensor, texts: Tensor, truth: Pictures) -> str:
    """A row of the table; `texts` [SIZE, D] are the embedded captions of the pool, `truth` its objects."""
    import torch

    from sds3d.evaluation.metrics import r_precision, view_consistency, views_together

    count = len(embedded)
    own = torch.arange(count)
    together = r_precision(views_together(embedded), texts, own)
    alone = r_precision(embedded.flatten(0, 1), texts, own.repeat_interleave(NUM_VIEWS))
    consistency = view_consistency(embedded)
    cells = [f"{together:.3f}", f"{alone:.3f}", f"{consistency.score:.3f}", f"{consistency.opposite:.3f}"]
    return f"| {' | '.join([pictures.name, str(count), *cells, *shape_cells(pictures, truth)])} |"


def misses(names: Sequence[str], embedded: Sequence[Tensor], texts: Tensor, captions: Sequence[str]) -> str:
    """A table of the captions for which something was made that does not find them, with what it was taken for.

    One column for each of `names`, of what is `embedded` [K, NUM_VIEWS, D]: "" where it was taken for what it is, "-"
    where there is none. The last is of true objects, which stand beside the others and make no row of their own.
    """
    taken = [taken_for(views, texts) for views in embedded]
    counts = [len(views) for views in embedded]
    wrong = sorted(set().union(*taken[:-1]))
    rows = [["caption", *names], ["---"] * (1 + len(names))]
    for index in wrong[:MAX_MISSES]:
        cells = [
            "-" if index >= count else captions[found[index]] if index in found else ""
            for found, count in zip(taken, counts, strict=True)
        ]
        rows.append([captions[index], *cells])
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    left = len(wrong) - MAX_MISSES
    return "\n".join(["Taken for something else:", "", *lines, *([f"and {left} more"] if left > 0 else [])])


def taken_for(embedded: Tensor, texts: Tensor) -> dict[int, int]:
    """The nearest other caption, by the views together, of each thing to which its own is not nearer."""
    import torch

    from sds3d.evaluation.metrics import views_together

    cosines = views_together(embedded) @ texts.T
    own = cosines.diagonal().clone()
    cosines.fill_diagonal_(-torch.inf)
    nearest, others = cosines.max(1)
    return {index: int(others[index]) for index in (nearest >= own).nonzero()[:, 0].tolist()}


def shape_cells(pictures: Pictures, truth: Pictures) -> list[str]:
    """The worst haze, how many are in one piece, how many have a second face."""
    from sds3d.evaluation.metrics import components, has_second_face, haze

    if pictures.alphas is None:
        return ["", "", ""]
    count = len(pictures.images)
    worst = max(haze(alphas) for alphas in pictures.alphas)
    whole = sum(components(alphas) == 1 for alphas in pictures.alphas)
    faces = sum(has_second_face(*pair) for pair in zip(sides(pictures), sides(truth)[:count], strict=True))
    return [f"{worst:.4f}", f"{whole} of {count}", f"{faces} of {count}"]


def sides(pictures: Pictures) -> list[float]:
    """How much front and back differ, for each thing."""
    from sds3d.evaluation.metrics import side_difference

    back = NUM_VIEWS // 2
    return [
        side_difference(views[0], views[back], alphas[0] * alphas[back])
        for views, alphas in zip(pictures.images, pictures.alphas, strict=True)
    ]


def check_pool(folder: Path) -> None:
    """UserError if the judge in `folder` is ours and was trained when the pool was another one."""
    from sds3d.errors import UserError
    from sds3d.evaluation.judge import OURS, TRAIN, read_config
    from sds3d.procedural.objects.held_out import pool_id

    config = read_config(folder)
    if config.get("model_type") == OURS and config.get("pool") != pool_id():
        raise UserError(
            f"{folder}: the objects or their captions have changed since this judge was trained, so that it may have "
            f"seen captions of the pool; train it anew with `{TRAIN}`"
        )


def compare(args: argparse.Namespace) -> tuple[str, str]:
    """Makes what is missing; the table, with what it was made, and others of the misses."""
    from sds3d.config.load import load_config
    from sds3d.errors import UserError
    from sds3d.evaluation.judge import load_judge
    from sds3d.native.devices import begin_context, resolve_device
    from sds3d.priors import build_prior
    from sds3d.procedural.objects.held_out import held_out_pool

    check_pool(args.judge)
    pool = held_out_pool()
    cfg = load_config(Path(args.config), [f"out={args.out}"], pool[0].plain)
    begin_context(cfg.device)
    device = resolve_device(cfg.device)
    judge = load_judge(args.judge, device)
    prior = build_prior(cfg.prior, device)
    if prior.num_views != NUM_VIEWS:
        raise UserError(f"--config {args.config}: expected a prior of {NUM_VIEWS} views, got {prior.num_views}")
    truth = true_objects()
    lines = [f"| {' | '.join(HEADINGS)} |", f"|---|---|{' --: |' * (len(HEADINGS) - 2)}"]
    missed = []
    for words, captions in (("trained", [held.plain for held in pool]), ("held-out", [held.caption for held in pool])):
        texts = judge.embed_texts(captions).cpu()
        runs = make_runs(captions[: args.prompts], args.config, args.out, args.jobs)
        assets = finished_assets(runs, cfg.renderer, device)
        rows = [prior_samples(prior, cfg, captions[: args.samples]), *assets, truth]
        embedded = [embed(judge, pictures) for pictures in rows]
        for pictures, views in zip(rows, embedded, strict=True):
            lines.append(f"| {words} words {line(pictures, views, texts, truth)}")
        missed.append(misses([pictures.name for pictures in rows], embedded, texts, captions))
    notes = (
        f"The nearest of {SIZE} captions by {judge.name}; {NUM_VIEWS} views of each; config {args.config}; "
        f"{describe_machine(cfg.device)}; {datetime.date.today().isoformat()}."
    )
    table = "\n".join(lines)
    return f"{table}\n\n{textwrap.fill(notes, 120)}", "\n\n".join(missed)


def main() -> int:
    from sds3d.errors import UserError

    counts = range(2, SIZE + 1)  # two things at least, to compare views of one with views of another
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", type=Path, default=JUDGE, metavar="FOLDER", help="ours, or a CLIP model")
    parser.add_argument("--samples", type=int, choices=counts, default=SIZE, metavar="N", help=f"default: {SIZE}")
    parser.add_argument("--prompts", type=int, choices=counts, default=48, metavar="N", help="assets (default: 48)")
    parser.add_argument("--config", default="asset", metavar="NAME", help="of the prior and the runs (default: asset)")
    add_jobs(parser)
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "quality", metavar="FOLDER", help="of the runs")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also replace the block of quality in FILE")
    args = parser.parse_args()
    try:
        block, missed = compare(args)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{block}\n\n{missed}")
    if args.write:
        write_block(args.write, "quality", block)
    return 0


if __name__ == "__main__":
    sys.exit(main())
