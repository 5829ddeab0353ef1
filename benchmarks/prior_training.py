"""Times a training step of the pocket prior on a GPU, and compares it with the GPU's matrix rate.

python -m benchmarks.prior_training [--normals] [--batch N] [--steps N] [--kernels] [--write docs/pocket.md]
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.clock import clock
from benchmarks.report import write_block
from sds3d.priors.pocket import model
from sds3d.priors.pocket.data import ProceduralObjects, render_latents
from sds3d.priors.pocket.learner import Learner
from sds3d.priors.pocket.options import parse
from sds3d.priors.training import load_batches

DEVICE = torch.device("cuda")
REPEATS = 20  # of each part of a step
WARM_UP = 12  # steps: compiling, choosing algorithms, recording
MATRIX = 8192  # rows and columns of the product that gives the matrix rate


def matrix_rate() -> float:
    """Operations per second of a bfloat16 matrix product."""
    left, right = (torch.randn(MATRIX, MATRIX, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    return 2 * MATRIX**3 / (clock(lambda: left @ right, REPEATS) / 1e3)


def operations(learner: Learner) -> int:
    """Operations of the network for one object's views: forward, and twice as many backward."""
    unet = model.build_unet(tuple(learner.cfg.channels), learner.cfg.layers, learner.cfg.normals)
    latents, context, condition, *_ = (torch.zeros(model.NUM_VIEWS, *x.shape[1:]) for x in learner.inputs)
    with FlopCounterMode(display=False) as counter:
        unet(latents, torch.zeros(model.NUM_VIEWS), context, condition)
    return 3 * counter.get_total_flops()


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of a step and its parts, views per second, share of the matrix rate."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--out", folder, "--batch", str(args.batch), "--steps", str(WARM_UP + args.steps)]
        settings = parse(options + ["--normals"] * args.normals)
    learner = Learner(settings, DEVICE)
    data = ProceduralObjects(0, args.batch, range(settings.steps), learner.encoder.cpu())
    # the loaders start before the encoder goes to the GPU, which they must not touch
    batches = iter(load_batches(data, settings.workers, DEVICE))
    learner.encoder.to(DEVICE)
    losses = learner.train(batches)
    started = time.perf_counter()
    for _ in range(WARM_UP):
        next(losses)
    torch.cuda.synchronize()
    rows = {"start-up s": time.perf_counter() - started}
    started = time.perf_counter()
    for _ in losses:
        pass
    torch.cuda.synchronize()
    step = (time.perf_counter() - started) / args.steps
    batch = data[0].to(DEVICE)
    inputs = learner._inputs(batch, 0)
    rows |= {
        "step ms": 1e3 * step,
        "tracing ms": clock(lambda: render_latents(batch, args.normals), REPEATS),
        "tracing, texts, noise ms": clock(lambda: learner._inputs(batch, 0), REPEATS),
        "forward and backward ms": clock(lambda: learner._replay(inputs), REPEATS),
        "optimizer ms": clock(learner._apply, REPEATS),
        "steps a second": 1 / step,
        "pictures a second": model.NUM_VIEWS * args.batch / step,
        "share of the matrix rate": args.batch * operations(learner) / step / matrix_rate(),
        "peak GiB": torch.cuda.max_memory_reserved() / 2**30,
    }
    if args.kernels:
        print_kernels(lambda: learner._take(learner._prepare(batch, learner.step)))
    return rows


def print_kernels(function: Callable[[], object]) -> None:
    """Prints the 40 kernels with the longest total times."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        function()
        torch.cuda.synchronize()
    kernels = sorted(profiler.key_averages(), key=lambda entry: -entry.self_device_time_total)
    for entry in kernels[:40]:
        print(f"{entry.self_device_time_total / 1e3:8.3f} ms {entry.count:4d}  {entry.key[:120]}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--normals", action="store_true", help="train a prior that predicts normals in addition to colors"
    )
    parser.add_argument("--batch", type=int, default=64, metavar="N", help="objects, four views each (default: 64)")
    parser.add_argument("--steps", type=int, default=60, metavar="N", help="timed steps (default: 60)")
    parser.add_argument("--kernels", action="store_true", help="also list the 40 slowest kernels")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also replace the block in FILE")
    args = parser.parse_args()
    lines = ["| | measured |", "|---|--:|", *(f"| {name} | {value:,.2f} |" for name, value in measure(args).items())]
    machine = f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {datetime.date.today().isoformat()}"
    what = "colors and normals" if args.normals else "colors"
    lines += ["", f"{args.batch} objects, four views each, {what}; {machine}."]
    print("\n".join(lines), flush=True)
    if args.write:
        write_block(args.write, "prior training", "\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
