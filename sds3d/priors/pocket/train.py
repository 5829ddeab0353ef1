"""Program: train the pocket prior on objects that are made up and traced while it learns.

sds3d prior train --out FOLDER --steps 16000
torchrun --nproc-per-node 4 -m sds3d.priors.pocket.train --out FOLDER     # the batch is for each of the four GPUs
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from sds3d.priors.pocket import model
from sds3d.priors.pocket.data import MadeUpObjects
from sds3d.priors.pocket.learner import Learner
from sds3d.priors.weights import MANIFEST, file_sha256


def run(args: argparse.Namespace) -> None:
    """Train until `args.steps`, saving now and then, and write the folder that `PocketConfig.path` takes."""
    rank, world, device = join_processes(args.device)
    learner = Learner(args, device, rank, world)
    checkpoint = args.out / "training.safetensors"
    args.out.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        learner.load(checkpoint)
        print(f"resumed at step {learner.step}", flush=True)
    loader = DataLoader(
        MadeUpObjects(args.seed, args.batch, range(learner.step, args.steps), learner.encoder.cpu(), rank, world),
        batch_size=None,
        num_workers=args.workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if args.workers else None,
    )
    batches = iter(loader)  # the loaders start before the encoder goes to the GPU, which they must not touch
    learner.encoder.to(device)
    losses, since, saved = [], time.perf_counter(), time.perf_counter()
    for batch in batches:
        losses.append(learner.train_step(batch))
        if rank != 0:
            continue
        if learner.step % args.log_every == 0 or learner.step == args.steps:
            loss, now = torch.stack(losses).mean().item(), time.perf_counter()
            milliseconds = 1e3 * (now - since) / len(losses)
            print(json.dumps({"step": learner.step, "loss": round(loss, 5), "ms": round(milliseconds, 1)}), flush=True)
            losses, since = [], now
        if time.perf_counter() - saved > args.save_every or learner.step == args.steps:
            learner.save(checkpoint)
            export(learner, args.out)
            saved = time.perf_counter()
    if world > 1:
        torch.distributed.destroy_process_group()


def join_processes(device: str) -> tuple[int, int, torch.device]:
    """(rank, number of processes, device) as torchrun's variables say; (0, 1, `device`) without them."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return 0, 1, torch.device(device)
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return torch.distributed.get_rank(), world, torch.device(device)


def export(learner: Learner, out: Path) -> None:
    """Write the averaged network, a copy of the text encoder beside it, and the checksums of both."""
    model.save_unet(learner.average, out)
    if learner.args.text.resolve() != (out / "text_encoder").resolve():
        shutil.copytree(learner.args.text, out / "text_encoder", dirs_exist_ok=True)
    files = [path for name in ("unet", "scheduler", "text_encoder") for path in sorted((out / name).iterdir())]
    manifest = {str(path.relative_to(out)): file_sha256(path) for path in files}
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of the program."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(prog="sds3d prior train", description="train the pocket prior")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the new prior; an unfinished one is continued"
    )
    parser.add_argument(
        "--text", type=Path, default=Path(__file__).parent / "weights" / "text_encoder", help="text encoder"
    )
    parser.add_argument("--init", type=Path, help="a trained prior whose network is where this one starts")
    parser.add_argument("--steps", type=int, default=16000)
    parser.add_argument("--batch", type=int, default=64, help="objects a step and process, four views each")
    parser.add_argument("--channels", type=int, nargs="+", default=[96, 192, 256])
    parser.add_argument("--layers", type=int, default=1, help="residual blocks a level")
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--ema", type=float, default=0.9995)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=12 if cuda else 0, help="processes that make up objects")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=cuda, help="torch.compile")
    parser.add_argument("--log-every", type=int, default=100, help="steps")
    parser.add_argument("--save-every", type=float, default=120.0, help="seconds")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if cuda else "cpu")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    run(parse(argv))


if __name__ == "__main__":
    main()
