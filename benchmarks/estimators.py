"""An image and a table that compare estimators on the same prompts with the same prior.

python -m benchmarks.estimators [--prompts N] [--estimators NAME ...] [--out FOLDER] [--write docs/estimators.md]

Each asset is optimized, but not meshed. Finished runs are kept and a stopped run resumes, so the comparison can be made
in pieces. The judge is the prior itself; see `text_errors`.
"""

from __future__ import annotations

import argparse
import datetime
import io
import statistics
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report import describe_machine, write_block
from benchmarks.sheet import ROWS, encode

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from sds3d.config.schema import Config
    from sds3d.interfaces import Prior, Renderer
    from sds3d.priors.cache import Priors

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "benchmarks" / "estimators.yaml"
NUM_VIEWS = 2  # of each asset in the picture
TILE = 96  # pixels
LABEL = 168  # pixels
HEADER = 28  # pixels
MAX_BYTES = 1_000_000
LEVEL = 0.4  # of T, the noise level at which the prior judges
ELEVATIONS_DEG = (0.0, 30.0)  # of the rings of views that it judges
HEADINGS = ("estimator", "settings", "calls", "seconds", "x0 error", "prompt fits best")


@dataclass(frozen=True)
class Column:
    """An estimator with its best settings for the pocket prior, at a cost similar to that of the others."""

    name: str
    settings: tuple[str, ...] = ()  # stages.* is every stage
    negative_prompt: str = ""


COLUMNS = (
    Column("sds"),
    Column(
        "sds-epsilon",
        (
            "stages.*.estimator.form=epsilon",
            "stages.0.loss.sparsity=3",
            "stages.1.loss={sparsity: 3, opaque: 60}",
            "stages.2.loss={sparsity: 6, opaque: 250, scales: 15}",
        ),
    ),
    Column("csd", ("stages.*.estimator.kind=csd", "stages.*.estimator.guidance_scale=2")),
    Column(
        "nfsd",
        ("stages.*.estimator.kind=nfsd", "stages.*.estimator.guidance_scale=2"),
        negative_prompt="a grey blob",
    ),
    Column(
        "ism",
        (
            "stages.*.estimator.kind=ism",
            "stages.*.estimator.guidance_scale=5",
            "stages.*.estimator.delta_t=0.02",
            "stages.*.prior_every=10",
            "stages.0.t_min={start: 0.85, end: 0.5}",
            "stages.0.t_max={start: 0.9, end: 0.6}",
        ),
    ),
    Column(
        "sdi",
        (
            "stages.*.estimator.kind=sdi",
            "stages.*.estimator.guidance_scale=4",
            "stages.*.estimator.inversion_guidance_scale=0",
            "stages.*.estimator.eta=0",
            "stages.*.prior_every=16",
        ),
    ),
    Column("sdedit", ("stages.*.estimator={kind: sdedit, guidance_scale: 3, steps: 8}", "stages.*.prior_every=32")),
    Column(
        "vsd",
        (
            "stages.*.estimator.kind=vsd",
            "stages.*.estimator.guidance_scale=4",
            "stages.*.estimator.lr=0.001",
            "stages.*.prior_every=12",
        ),
    ),
)


@dataclass(frozen=True)
class Result:
    """One asset."""

    picture: Tensor  # [TILE, NUM_VIEWS TILE, 3] in [0, 1]
    seconds: float  # of the optimization, loading excluded
    error: float  # of x0 under the prompt
    fits: bool  # whether no other prompt has a smaller error


def configure(column: Column, config: str, out: Path, prompt: str) -> Config:
    """The config `config` with the settings of `column`."""
    from sds3d.config.load import load_config

    base = [f"out={out}", f"negative_prompt={column.negative_prompt}"]
    stages = range(len(load_config(Path(config), base, prompt).stages))
    settings = [text.replace("*", str(index)) for text in column.settings for index in stages]
    return load_config(Path(config), base + settings, prompt)


def make(cfg: Config, priors: Priors, texts: Sequence[str]) -> Result:
    """The asset of `cfg`, whose prompt is one of `texts`; makes it unless its run is finished."""
    from sds3d.cli.progress import LineProgress
    from sds3d.imaging.png import render_row
    from sds3d.optimization.loop import optimize
    from sds3d.priors.kinds import prior_ids
    from sds3d.runs.folder import RunFolder

    run = RunFolder.create(cfg, prior_ids(cfg))
    with run.locked():
        result = optimize(cfg, run, priors, LineProgress(io.StringIO()), lambda: False)
    errors = text_errors(priors.get(cfg.prior), result.scene.render, texts).tolist()
    error = errors[texts.index(cfg.prompt)]
    seconds = sum(result.seconds[stage.name] for stage in cfg.stages)
    picture = render_row(result.scene.render, result.scene.device, NUM_VIEWS, TILE)
    return Result(picture, seconds, error, error == min(errors))


def text_errors(prior: Prior, renderer: Renderer, texts: Sequence[str]) -> Tensor:
    """The prior's error under each text, [texts]: the mean square of the difference of x0 from the view, in latents.

    The mean is over rings of views at `ELEVATIONS_DEG`, at noise level `LEVEL`, with equal noise for all texts and
    assets.
    """
    import torch

    from sds3d.cameras import turntable
    from sds3d.distillation.diffusion import draw_noise, noise_level
    from sds3d.imaging.png import BACKGROUND
    from sds3d.optimization.targets import shown

    device, views = prior.alphas_cumprod.device, prior.num_views
    generator = torch.Generator().manual_seed(0)
    timesteps = torch.full((views,), int(LEVEL * len(prior.alphas_cumprod)), device=device)
    alpha, sigma = noise_level(prior, timesteps)
    backgrounds = torch.full((views, 3), BACKGROUND, device=device)
    encoded = [prior.encode_prompt(text) for text in texts]
    rings = []
    with torch.no_grad():
        for elevation in ELEVATIONS_DEG:
            cameras = turntable(views, 2 * prior.resolution, elevation, start_azimuth_deg=20.0).to(device)
            latents = prior.encode_images(shown(prior, renderer(cameras, backgrounds), cameras))
            noise = draw_noise(latents, generator)
            predicted = prior.predict_noise(alpha * latents + sigma * noise, timesteps, encoded, cameras, backgrounds)
            rings.append(torch.stack([(sigma / alpha * (x - noise)).square().mean() for x in predicted]))
    return torch.stack(rings).mean(0)


class Counter:
    """A stub prior that counts calls of itself and of its adapted copy."""

    pixel_latents = False

    def __init__(self, prior: Prior) -> None:
        self.num_views, self.alphas_cumprod, self.calls = prior.num_views, prior.alphas_cumprod.cpu(), 0

    def encode_prompt(self, prompt: str, negative: bool = False) -> Tensor:
        return self.alphas_cumprod

    def encode_images(self, images: Tensor) -> Tensor:
        return images

    def decode_latents(self, latents: Tensor) -> Tensor:
        return latents

    def predict_noise(
        self, noisy: Tensor, timesteps: Tensor, texts: Sequence[Tensor], cameras: object, backgrounds: object
    ) -> list[Tensor]:
        self.calls += 1
        return [noisy.clone().requires_grad_() for _ in texts]

    def adapt(self, rank: int) -> tuple[Counter, list[nn.Parameter]]:
        return self, []


def count_calls(cfg: Config, prior: Prior) -> int:
    """The number of network calls in an optimization; a call includes its backward pass."""
    import torch

    from sds3d.distillation import build_estimator
    from sds3d.interfaces import Condition, Prompts
    from sds3d.optimization.inputs import blocks, sample_inputs

    counter, device = Counter(prior), torch.device("cpu")
    estimators = [build_estimator(stage.estimator) for stage in cfg.stages]
    text = counter.encode_prompt(cfg.prompt)
    for block in blocks(cfg.stages, 0):
        inputs = sample_inputs(cfg.seed, cfg.stages[block.stage_index], block, counter, device)
        condition = Condition(Prompts(text, text, text), inputs.cameras, inputs.backgrounds)
        latents = torch.zeros(len(inputs.timesteps), 1, 1, 1)
        estimators[block.stage_index](counter, latents, inputs.timesteps, condition, inputs.generator)
    return counter.calls


def draw(columns: Sequence[Column], prompts: Sequence[str], results: Sequence[Sequence[Result]]) -> Image:
    """A picture with a column for each estimator and a row of `results` for each prompt."""
    from PIL import Image, ImageDraw, ImageFont

    from sds3d.imaging.png import BACKGROUND, to_uint8

    width, gray = NUM_VIEWS * TILE, round(255 * BACKGROUND)
    sheet = Image.new("RGB", (LABEL + width * len(columns), HEADER + TILE * len(prompts)), (gray, gray, gray))
    pen, style = ImageDraw.Draw(sheet), {"fill": (40, 40, 40), "font": ImageFont.load_default(14), "anchor": "mm"}
    for index, column in enumerate(columns):
        pen.text((LABEL + width * index + width // 2, HEADER // 2), column.name, **style)
    for row, (prompt, assets) in enumerate(zip(prompts, results, strict=True)):
        top = HEADER + TILE * row
        pen.multiline_text((LABEL // 2, top + TILE // 2), textwrap.fill(prompt, 20), align="center", **style)
        for index, asset in enumerate(assets):
            sheet.paste(Image.fromarray(to_uint8(asset.picture)), (LABEL + width * index, top))
    return sheet


def table(columns: Sequence[Column], calls: Sequence[int], results: Sequence[Sequence[Result]]) -> str:
    """A markdown table with a row for each estimator: median seconds and mean errors."""
    lines: list[Sequence[str]] = [HEADINGS, ("---",) * 2 + ("--:",) * 4]
    for column, count, assets in zip(columns, calls, zip(*results, strict=True), strict=True):
        settings = [
            *column.settings,
            *([f'negative_prompt="{column.negative_prompt}"'] if column.negative_prompt else []),
        ]
        lines.append(
            (
                column.name,
                ", ".join(f"`{text}`" for text in settings) or "as in the config",
                f"{count}",
                f"{statistics.median(asset.seconds for asset in assets):.1f}",
                f"{statistics.mean(asset.error for asset in assets):.5f}",
                f"{sum(asset.fits for asset in assets)} of {len(assets)}",
            )
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


@dataclass(frozen=True)
class Comparison:
    """The options of the program."""

    prompts: int
    estimators: list[str]
    config: str
    out: Path  # of the runs
    picture: Path
    write: Path | None


def parse() -> Comparison:
    names = [column.name for column in COLUMNS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, choices=range(1, len(ROWS) + 1), default=len(ROWS), metavar="N")
    parser.add_argument("--estimators", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--config", default=str(CONFIG), metavar="FILE", help="of three stages (default: benchmarks/estimators.yaml)"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "estimators", metavar="FOLDER")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "estimators.png", metavar="FILE")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also replace the block of estimators in FILE")
    return Comparison(**vars(parser.parse_args()))


def main() -> int:
    from sds3d.errors import UserError

    options = parse()
    try:
        block = compare(options)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(block)
    if options.write:
        write_block(options.write, "estimators", block)
    return 0


def compare(options: Comparison) -> str:
    """The table and where it was measured; makes the missing runs and writes the picture."""
    from sds3d.files import atomic_write
    from sds3d.native.devices import begin_context, resolve_device
    from sds3d.priors.cache import Priors

    texts = [row.prompt for row in ROWS]
    prompts = texts[: options.prompts]
    columns = [column for column in COLUMNS if column.name in options.estimators]
    configs = [[configure(column, options.config, options.out, prompt) for column in columns] for prompt in prompts]
    first = configs[0][0]
    begin_context(first.device)
    priors = Priors(resolve_device(first.device))  # one for all runs
    results: list[list[Result]] = []
    for prompt, row in zip(prompts, configs, strict=True):
        results.append([])
        for column, cfg in zip(columns, row, strict=True):
            result = make(cfg, priors, texts)
            fits = "its prompt fits best" if result.fits else "another prompt fits better"
            print(f"{column.name}: {prompt}: {result.seconds:.1f} s, {result.error:.5f}, {fits}", file=sys.stderr)
            results[-1].append(result)
    atomic_write(options.picture, encode(draw(columns, prompts, results), MAX_BYTES))
    calls = [count_calls(cfg, priors.get(cfg.prior)) for cfg in configs[0]]
    machine = describe_machine(first.device)
    notes = (
        f"{len(prompts)} prompts, config {Path(options.config).stem}; {machine}; {datetime.date.today().isoformat()}."
    )
    return f"{table(columns, calls, results)}\n\n{textwrap.fill(notes, 120)}"


if __name__ == "__main__":
    sys.exit(main())
