"""How well a judge that is not the prior finds captions from pictures, and whether assets are one sound thing.

python -m benchmarks.quality --judge FOLDER [--samples N] [--prompts N] [--out FOLDER] [--write docs/pocket.md]

Of what the prior draws by itself, of optimised Gaussians, and of true objects, which are the ceiling; all from the
captions of one pool, each with a word that the prior never saw in training. Finished runs are kept and a stopped one
goes on, so it can be made in pieces.
"""

from __future__ import annotations

import argparse
import datetime
import io
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.asset import describe_machine, write_block

if TYPE_CHECKING:
    from torch import Tensor

    from sds3d.config import Config
    from sds3d.evaluation.judge import Judge
    from sds3d.interfaces import Prior

ROOT = Path(__file__).resolve().parent.parent
JUDGE = ROOT / "sds3d" / "evaluation" / "weights"
SIZE = 200  # of the pool
NUM_VIEWS = 4  # in one ring, from the front on: as many as the prior draws together
RESOLUTION = 128  # pixels, of assets and true objects
HEADINGS = (
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


def prior_samples(prior: Prior, cfg: Config, count: int) -> Pictures:
    """What the prior draws by itself."""
    import torch

    from sds3d.cameras import turntable
    from sds3d.evaluation.pool import held_out_pool
    from sds3d.pictures import BACKGROUND
    from sds3d.priors.sample import sample_views

    device = prior.alphas_cumprod.device
    cameras = turntable(NUM_VIEWS, prior.resolution).to(device)
    backgrounds = torch.full((NUM_VIEWS, 3), BACKGROUND, device=device)
    images = []
    for index, held in enumerate(held_out_pool()[:count]):
        generator = torch.Generator().manual_seed(cfg.seed * SIZE + index)
        views = sample_views(prior, held.caption, cfg.negative_prompt, cameras, backgrounds, generator)
        images.append(views.float().cpu())
        print(f"sample {index + 1} of {count}: {held.caption}", file=sys.stderr)
    return Pictures("samples of the prior", torch.stack(images))


def optimised_assets(configs: Sequence[Config]) -> Pictures:
    """Gaussians of each of `configs`, optimised now unless they are there already."""
    import torch

    from sds3d.cameras import turntable
    from sds3d.cli.progress import LineProgress
    from sds3d.devices import resolve_device
    from sds3d.pictures import BACKGROUND
    from sds3d.runs import RunFolder
    from sds3d.trainer import train

    device = resolve_device(configs[0].device)
    cameras = turntable(NUM_VIEWS, RESOLUTION).to(device)
    backgrounds = torch.full((NUM_VIEWS, 3), BACKGROUND, device=device)
    images, alphas = [], []
    for index, cfg in enumerate(configs):
        run = RunFolder.create(cfg)
        with run.locked():
            result = train(cfg, run, LineProgress(io.StringIO()), lambda: False)
        with torch.no_grad():
            render = result.renderer(cameras, backgrounds)
        images.append(render.colors.movedim(-1, 1).clamp(0, 1).cpu())
        alphas.append(render.alphas.movedim(-1, 1).cpu())
        print(f"asset {index + 1} of {len(configs)}: {cfg.prompt}", file=sys.stderr)
    return Pictures("optimised Gaussians", torch.stack(images), torch.stack(alphas))


def true_objects() -> Pictures:
    """The objects that the captions of the pool were made for."""
    import torch

    from sds3d.cameras import turntable
    from sds3d.evaluation.pool import draw_pool
    from sds3d.pictures import BACKGROUND

    colors, alphas = draw_pool(SIZE, turntable(NUM_VIEWS, RESOLUTION), torch.device("cpu"))
    return Pictures("true objects", colors + (1 - alphas) * BACKGROUND, alphas)


def line(judge: Judge, pictures: Pictures, texts: Tensor, truth: Pictures) -> str:
    """A row of the table; `texts` [SIZE, D] are the embedded captions of the pool, `truth` its objects."""
    import torch

    from sds3d.evaluation.metrics import r_precision, view_consistency, views_together

    count = len(pictures.images)
    embedded = torch.stack([judge.embed_images(views) for views in pictures.images]).cpu()
    own = torch.arange(count)
    together = r_precision(views_together(embedded), texts, own)
    alone = r_precision(embedded.flatten(0, 1), texts, own.repeat_interleave(NUM_VIEWS))
    consistency = view_consistency(embedded)
    cells = [f"{together:.3f}", f"{alone:.3f}", f"{consistency.score:.3f}", f"{consistency.opposite:.3f}"]
    return f"| {' | '.join([pictures.name, str(count), *cells, *shape_cells(pictures, truth)])} |"


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
    from sds3d.evaluation.pool import pool_id

    config = read_config(folder)
    if config.get("model_type") == OURS and config.get("pool") != pool_id():
        raise UserError(
            f"{folder}: the objects or their captions have changed since this judge was trained, so that it may have "
            f"seen captions of the pool; train it anew with `{TRAIN}`"
        )


def compare(args: argparse.Namespace) -> str:
    """Makes what is missing; the table, and with what it was made."""
    from sds3d import trainer
    from sds3d.devices import begin_context, resolve_device
    from sds3d.errors import UserError
    from sds3d.evaluation.judge import load_judge
    from sds3d.evaluation.pool import held_out_pool
    from sds3d.settings import load_config

    check_pool(args.judge)
    captions = [held.caption for held in held_out_pool()]
    configs = [load_config(Path(args.config), [f"out={args.out}"], caption) for caption in captions[: args.prompts]]
    first = configs[0]
    begin_context(first.device)
    device = resolve_device(first.device)
    judge = load_judge(args.judge, device)
    texts = judge.embed_texts(captions).cpu()
    trainer.build_prior = cache(trainer.build_prior)  # one for the samples and all runs
    prior = trainer.build_prior(first.prior, device)
    if prior.num_views != NUM_VIEWS:
        raise UserError(f"--config {args.config}: expected a prior of {NUM_VIEWS} views, got {prior.num_views}")
    truth = true_objects()
    rows = [prior_samples(prior, first, args.samples), optimised_assets(configs), truth]
    head = f"| {' | '.join(HEADINGS)} |\n|---|{' --: |' * (len(HEADINGS) - 1)}"
    table = "\n".join([head, *(line(judge, pictures, texts, truth) for pictures in rows)])
    notes = (
        f"The nearest of {SIZE} captions by {judge.name}; {NUM_VIEWS} views of each; config {args.config}; "
        f"{describe_machine(first.device)}; {datetime.date.today().isoformat()}."
    )
    return f"{table}\n\n{textwrap.fill(notes, 120)}"


def main() -> int:
    from sds3d.errors import UserError

    counts = range(2, SIZE + 1)  # two things at least, to compare views of one with views of another
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", type=Path, default=JUDGE, metavar="FOLDER", help="ours, or a CLIP model")
    parser.add_argument("--samples", type=int, choices=counts, default=SIZE, metavar="N", help=f"default: {SIZE}")
    parser.add_argument("--prompts", type=int, choices=counts, default=24, metavar="N", help="assets (default: 24)")
    parser.add_argument("--config", default="asset", metavar="NAME", help="of the prior and the runs (default: asset)")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "quality", metavar="FOLDER", help="of the runs")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also replace the block of quality in FILE")
    args = parser.parse_args()
    try:
        block = compare(args)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(block)
    if args.write:
        write_block(args.write, "quality", block)
    return 0


if __name__ == "__main__":
    sys.exit(main())
