"""One step of score distillation with a prior of MVDream's size, compared with the usual implementation.

python -m benchmarks.prior_step [--splats N] [--blocks N] [--no-compile] [--no-peer] [--write docs/benchmarks.md]

This needs a GPU, but no weights: random weights cost the same. A step renders four views of 256 x 256 pixels of splats
on a shell, as late in an optimization, and encodes them. The usual implementation ("peer") is eager diffusers in
float16, gsplat and PyTorch's Adam. Exits with 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.clock import clock
from benchmarks.rasterizer import shell
from benchmarks.report import write_block
from sds3d.adam import Adam
from sds3d.config.schema import Config, GaussiansConfig, MVDreamConfig, SDSConfig, StageConfig
from sds3d.optimization.inputs import blocks, sample_inputs
from sds3d.optimization.recorded import RecordedSteps
from sds3d.preflight.estimate import CONTEXT, estimate
from sds3d.priors.blueprint import NETWORKS, VAE
from sds3d.priors.latent import LatentPrior
from sds3d.priors.mvdream.prior import NUM_VIEWS, MultiViewUNet
from sds3d.priors.schedule import make_schedule
from sds3d.priors.texts import PromptCache
from sds3d.priors.vae import Vae, plain_moments
from sds3d.renderers.splat_fused import FusedSplatScene
from sds3d.representations.gaussians.splats import Gaussians

ROOT = Path(__file__).resolve().parent.parent
DEVICE = torch.device("cuda")
DTYPE = torch.float16
PIXELS = 256
SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LIMITS = {  # name -> (limit, whether it is an upper one)
    "step ms, a prior call each": (14.0, True),
    "step ms, a prior call every 4": (5.0, True),
    "share of the prior": (0.85, False),
    "peak GiB": (8.0, True),
    "start-up s, nothing compiled": (90.0, True),
}


def random_network(cls: type, config: dict) -> nn.Module:
    """A model of diffusers with random weights whose layers preserve the variance of their inputs, roughly."""
    with torch.device("meta"):
        model = cls.from_config(config)
    nn.Module.to(model, DTYPE)
    model = model.to_empty(device=DEVICE)
    generator = torch.Generator(DEVICE).manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
            else:
                parameter.fill_(float("norm" in name and name.endswith("weight")))
    return model.requires_grad_(False).eval().to(memory_format=torch.channels_last)


def random_text(prompt: str, suffix: str) -> Tensor:
    return torch.randn(77, 1024, generator=torch.Generator().manual_seed(len(prompt)))


def build_prior(compiles: bool) -> LatentPrior:
    """MVDream as in a run, with random weights."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    unet = random_network(UNet2DConditionModel, NETWORKS["mvdream-sd2.1"])
    vae = Vae(random_network(AutoencoderKL, VAE))
    texts = PromptCache(lambda: random_text, None, DEVICE, DTYPE)
    return LatentPrior(
        MultiViewUNet(unet, DTYPE), vae, make_schedule(SCHEDULER), texts,
        num_views=NUM_VIEWS, resolution=PIXELS, compiles=compiles, device=DEVICE,
    )  # fmt: skip


def build_config(splats: int, prior_every: int, num_blocks: int) -> Config:
    stage = StageConfig(
        steps=prior_every * num_blocks, prior_every=prior_every, resolution=PIXELS,
        estimator=SDSConfig(guidance_scale=50.0, rescale=0.5),
    )  # fmt: skip
    shape = GaussiansConfig(num_init=splats, max_gaussians=splats, densify_every=10_000_000)
    return Config(prompt="a red mushroom", representation=shape, prior=MVDreamConfig(), stages=(stage,))


def build_gaussians(cfg: Config) -> Gaussians:
    """The shell of benchmarks/rasterizer.py, as a scene."""
    means, quats, scales, opacities, colors = shell(cfg.representation.num_init, torch.Generator().manual_seed(0))
    tensors = {
        "means": means,
        "quats": quats,
        "log_scales": scales.log(),
        "logit_opacities": opacities.logit(),
        "logit_colors": colors.logit(eps=0.01),
    }
    return Gaussians(tensors, cfg.representation)


def run_blocks(cfg: Config, prior: LatentPrior) -> tuple[float, list[float], RecordedSteps]:
    """Seconds of the first block, which compiles and records; seconds of each later block; the steps."""
    stage = cfg.stages[0]
    scene = FusedSplatScene(build_gaussians(cfg), cfg.renderer, stage.steps, DEVICE)
    optimizer = Adam(scene.param_groups("all", 0.0), betas=(0.9, 0.99), eps=1e-15)
    steps = RecordedSteps(cfg, scene, prior, optimizer)
    seconds, inputs = [], None
    for block, following in pairwise([*blocks(cfg.stages, 0), None]):  # as Attempt.run_block does
        started = time.perf_counter()
        steps.start(stage, block, inputs or sample_inputs(0, stage, block, prior, DEVICE))
        inputs = following and sample_inputs(0, stage, following, prior, DEVICE)
        steps.finish()
        seconds.append(time.perf_counter() - started)
    return seconds[0], seconds[3:-1], steps  # the second and third still initialize some parts


def measure_prior(steps: RecordedSteps, cfg: Config, repeats: int = 30) -> float:
    """Milliseconds of encoder, network and estimator with the backward pass: a step without rendering and Adam."""
    find = steps.finder(cfg.stages[0], lasting=cfg.stages[0].prior_every > 1)
    inputs = steps.inputs
    images = torch.rand(NUM_VIEWS, 3, PIXELS, PIXELS, device=DEVICE)
    arguments = (images, inputs.timesteps, inputs.cameras.viewmats, inputs.cameras.Ks, inputs.backgrounds)
    return clock(lambda: find(*arguments), repeats)


def measure_peer(splats: int, repeats: int) -> float | None:
    """Median milliseconds of a step of the usual implementation, or None without gsplat."""
    if importlib.util.find_spec("gsplat") is None:
        return None
    from sds3d.interfaces import Splats
    from sds3d.renderers.rasterizer import View
    from sds3d.renderers.splat_gsplat import rasterize

    prior = build_prior(compiles=False)
    prior.predict, prior.vae.moments = prior.network, partial(plain_moments, prior.vae.model)
    cfg = build_config(splats, 1, repeats)
    stage = cfg.stages[0]
    scene = build_gaussians(cfg).to(DEVICE)
    optimizer = torch.optim.Adam(scene.param_groups("all", 0.0), betas=(0.9, 0.99), eps=1e-15)
    texts = [prior.encode_prompt(cfg.prompt), prior.encode_prompt("")]
    inputs = sample_inputs(0, stage, next(iter(blocks(cfg.stages, 0))), prior, DEVICE)

    def step() -> None:
        cameras, timesteps = inputs.cameras, inputs.timesteps
        view = View(cameras.viewmats, cameras.Ks, inputs.backgrounds, PIXELS, PIXELS)
        colors = rasterize(Splats(*scene.activated()), view).colors
        latents = prior.encode_images(colors.movedim(-1, 1))
        with torch.no_grad():
            alpha = prior.alphas_cumprod[timesteps][:, None, None, None]
            noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * torch.randn_like(latents)
            text, negative = prior.predict_noise(noisy, timesteps, texts, cameras, inputs.backgrounds)
            target = (noisy - (1 - alpha).sqrt() * (negative + 50 * (text - negative))) / alpha.sqrt()
        loss = 0.5 * F.mse_loss(latents, target, reduction="sum") / len(latents)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return clock(step, repeats)


def start_up() -> float:
    """Seconds of the first block in another process, with compiling and recording."""
    program = (
        "from benchmarks.prior_step import *\n"
        "prior = build_prior(True)\n"
        "print('first', run_blocks(build_config(20_000, 1, 4), prior)[0])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", cwd=ROOT, check=True
    )
    return float(result.stdout.split("first ")[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splats", type=int, default=20_000, metavar="N")
    parser.add_argument("--blocks", type=int, default=60, metavar="N", help="blocks of each kind of step")
    parser.add_argument("--no-compile", action="store_true", help="as prior.compile=false")
    parser.add_argument("--no-peer", action="store_true", help="do not measure the usual implementation")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also replace the block in FILE")
    args = parser.parse_args()
    compiles = not args.no_compile

    rows: dict[str, float] = {}
    if compiles:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="sds3d-compiled-")
    started = time.perf_counter()
    prior = build_prior(compiles)
    loading = time.perf_counter() - started
    torch.cuda.reset_peak_memory_stats()
    for prior_every, name in ((1, "a prior call each"), (4, "a prior call every 4")):
        cfg = build_config(args.splats, prior_every, args.blocks)
        steps = None  # frees its memory first
        first, seconds, steps = run_blocks(cfg, prior)
        rows[f"step ms, {name}"] = 1e3 * statistics.median(seconds) / prior_every
        if prior_every == 1:
            rows["start-up s, nothing compiled" if compiles else "start-up s"] = first + loading
            rows["prior ms"] = measure_prior(steps, cfg)
            rows["share of the prior"] = rows["prior ms"] / rows[f"step ms, {name}"]
    rows["peak GiB"] = torch.cuda.max_memory_reserved() / 2**30
    rows["of it allocated"] = torch.cuda.max_memory_allocated() / 2**30
    rows["estimated GiB"] = (estimate(cfg, "cuda").largest.with_margin - CONTEXT) / 2**30
    del prior, steps
    torch.cuda.empty_cache()
    if compiles:
        rows["start-up s, compiled before"] = start_up()
    if not args.no_peer and (peer := measure_peer(args.splats, 20)):
        rows["step ms, usual implementation"] = peer
    return report(rows, args)


def report(rows: dict[str, float], args: argparse.Namespace) -> int:
    """Prints the table; returns 1 if a limit is missed, else 0."""
    lines = ["| | measured | target |", "|---|--:|--:|"]
    missed = []
    for name, value in rows.items():
        limit, at_most = LIMITS.get(name, (None, True))
        target = "" if limit is None else f"at {'most' if at_most else 'least'} {limit:g}"
        lines.append(f"| {name} | {value:.2f} | {target} |")
        if limit is not None and (value > limit if at_most else value < limit):
            missed.append(name)
    machine = f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {datetime.date.today().isoformat()}"
    lines += ["", f"{args.splats:,} splats, medians of {args.blocks} prior calls; {machine}."]
    print("\n".join(lines), flush=True)
    if args.write:
        write_block(args.write, "prior step", "\n".join(lines))
    for name in missed:
        print(f"missed: {name}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
