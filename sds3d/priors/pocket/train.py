"""Program: train the pocket prior on objects that are made up and traced while it learns, or on the user's meshes too.

sds3d prior train --out FOLDER --steps 16000
sds3d prior train --out FOLDER --objects MESHES     # starts from the shipped weights
torchrun --nproc-per-node 4 -m sds3d.priors.pocket.train --out FOLDER     # the batch is for each of the four GPUs
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from sds3d.errors import UserError
from sds3d.files import atomic_write
from sds3d.priors.pocket import model
from sds3d.priors.pocket.data import ProceduralObjects
from sds3d.priors.pocket.learner import Learner
from sds3d.priors.pocket.mixed import MixedObjects
from sds3d.priors.pocket.words import WORDS, known_words
from sds3d.priors.weights import MANIFEST, POCKET, file_sha256, verify
from sds3d.procedural.library import UserObject, render_library
from sds3d.procedural.training_pairs import sample_pair

CAPTIONS = 20_000  # made-up ones that tell which words the prior knows; rarer words are hardly learnt
# of the options that the user leaves out
DEFAULTS = {"steps": 16000, "lr": 5e-4, "ema": 0.9995}
DEFAULTS_WITH_OBJECTS = {"steps": 2000, "lr": 2e-4, "ema": 0.998, "mix": 0.5, "init": POCKET}


def run(args: argparse.Namespace) -> None:
    """Train until `args.steps`, saving now and then, and write the folder that `PocketConfig.path` takes."""
    rank, world, device = join_processes(args.device)
    user_objects = load_user_objects(args, device, rank) if args.objects else []
    learner = Learner(args, device, rank, world)
    checkpoint = args.out / "training.safetensors"
    args.out.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        learner.load(checkpoint)
        print(f"resumed at step {learner.step}", flush=True)
    loader = DataLoader(
        training_data(args, learner, user_objects),
        batch_size=None,
        num_workers=args.workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if args.workers else None,
    )
    batches = iter(loader)  # the loaders start before the encoder goes to the GPU, which they must not touch
    learner.encoder.to(device)
    losses, since, saved = [], time.perf_counter(), time.perf_counter()
    for loss_of_step in learner.train(batches):
        losses.append(loss_of_step)
        if rank != 0:
            continue
        if learner.step % args.log_every == 0 or learner.step == args.steps:
            loss, now = torch.stack(losses).mean().item(), time.perf_counter()
            milliseconds = 1e3 * (now - since) / len(losses)
            print(json.dumps({"step": learner.step, "loss": round(loss, 5), "ms": round(milliseconds, 1)}), flush=True)
            losses, since = [], now
        if time.perf_counter() - saved > args.save_every or learner.step == args.steps:
            learner.save(checkpoint)
            export(learner, user_objects, args.out)
            saved = time.perf_counter()
    if world > 1:
        torch.distributed.destroy_process_group()
    if rank == 0:
        print(next_steps(args.out, user_objects))


def load_user_objects(args: argparse.Namespace, device: torch.device, rank: int) -> list[UserObject]:
    """The user's objects; the first process says which meshes it left out."""

    def report(text: str) -> None:
        if rank == 0:
            print(text, file=sys.stderr, flush=True)

    started = time.perf_counter()
    user_objects = render_library(args.objects, args.seed, device, report, normals=args.normals)
    report(f"drew {len(user_objects)} of your objects in {time.perf_counter() - started:.1f} s")
    return user_objects


def training_data(args: argparse.Namespace, learner: Learner, user_objects: list[UserObject]) -> ProceduralObjects:
    """The batches that are still to come."""
    steps, encoder = range(learner.step, args.steps), learner.encoder.cpu()
    if user_objects:
        return MixedObjects(
            args.seed, args.batch, steps, encoder, learner.rank, learner.world, user_objects=user_objects, mix=args.mix
        )
    return ProceduralObjects(args.seed, args.batch, steps, encoder, learner.rank, learner.world)


def next_steps(out: Path, user_objects: list[UserObject]) -> str:
    """What to try with the new prior."""
    captions = [caption for one in user_objects for caption in one.captions if caption.isprintable()]
    prompt, folder = shlex.quote((captions or ["a blue chair"])[0]), shlex.quote(str(out))
    return f"""\
finished: {out}
next:
  what it imagines:  sds3d prior preview --prior {folder} -- {prompt}
  an asset by it:    sds3d generate --prior {folder} -- {prompt}"""


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


def export(learner: Learner, user_objects: list[UserObject], out: Path) -> None:
    """Write the averaged network, beside it a copy of the text encoder and the words it knows, and all checksums."""
    model.save_unet(learner.average, out)
    if not (out / WORDS).exists():
        atomic_write(out / WORDS, known_words(captions_seen(learner.args, user_objects)))
    if learner.args.text.resolve() != (out / "text_encoder").resolve():
        shutil.copytree(learner.args.text, out / "text_encoder", dirs_exist_ok=True)
    files = [path for name in ("unet", "scheduler", "text_encoder") for path in sorted((out / name).iterdir())]
    manifest = {str(path.relative_to(out)): file_sha256(path) for path in [*files, out / WORDS]}
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def captions_seen(args: argparse.Namespace, user_objects: list[UserObject]) -> Iterator[str]:
    """The captions of a training: its own, many of the made-up ones, and the words of the prior that it starts from."""
    for one in user_objects:
        yield from one.captions
    if args.init and (args.init / WORDS).is_file():
        yield (args.init / WORDS).read_text(encoding="utf-8")
    if not user_objects or args.mix > 0:
        rng = random.Random(args.seed)
        for _ in range(CAPTIONS):
            yield sample_pair(rng)[1]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of the program."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(prog="sds3d prior train", description="train the pocket prior")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the new prior; an unfinished one is continued"
    )
    parser.add_argument(
        "--objects", type=Path, metavar="DIR", help="a folder of your meshes (GLB, OBJ) with captions.jsonl"
    )
    parser.add_argument("--mix", type=float, help="with --objects: share of objects that are made up (default: 0.5)")
    parser.add_argument(
        "--init", type=Path, help="a trained prior to start from (default: none; with --objects, the shipped one)"
    )
    parser.add_argument("--text", type=Path, help="text encoder (default: that of --init, or the shipped one)")
    parser.add_argument("--steps", type=int, help="default: 16000; with --objects, 2000")
    parser.add_argument("--batch", type=int, default=64, help="objects a step and process, four views each")
    parser.add_argument("--channels", type=int, nargs="+", help="default: those of --init, or 96 192 256")
    parser.add_argument("--layers", type=int, help="residual blocks a level (default: those of --init, or 1)")
    parser.add_argument(
        "--normals", action="store_true", help="draw normals beside colours; also without it if --init draws them"
    )
    parser.add_argument("--lr", type=float, help="default: 5e-4; with --objects, 2e-4")
    parser.add_argument("--ema", type=float, help="default: 0.9995; with --objects, 0.998")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=12 if cuda else 0, help="processes that make up objects")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=cuda, help="torch.compile")
    parser.add_argument("--log-every", type=int, default=100, help="steps")
    parser.add_argument("--save-every", type=float, default=120.0, help="seconds")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if cuda else "cpu")
    return complete(parser.parse_args(argv))


def complete(args: argparse.Namespace) -> argparse.Namespace:
    """`args` with every default filled in; raises UserError for options that contradict one another."""
    if args.mix is not None and not args.objects:
        raise UserError("--mix: it says how many objects are not those of --objects, which is missing")
    for name, value in (DEFAULTS_WITH_OBJECTS if args.objects else DEFAULTS).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.objects and not 0 <= args.mix < 1:
        raise UserError(f"--mix: expected a share from 0 to less than 1, got {args.mix}")
    args.text = args.text or (args.init or POCKET) / "text_encoder"
    shape = {"channels": [96, 192, 256], "layers": 1, "normals": False}
    if args.init:
        verify(args.init)
        if not (args.init / "unet" / "weights.int8.safetensors").is_file():
            raise UserError(f"--init {args.init}: expected a folder that `sds3d prior train` made")
        shape = model.network_shape(args.init)
    args.normals |= shape.pop("normals")
    for name, value in shape.items():
        given = getattr(args, name)
        if args.init and given not in (None, value):
            raise UserError(f"--{name}: {given} is not what the network of --init {args.init} has: {value}")
        setattr(args, name, value if given is None else given)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    run(parse(argv))


if __name__ == "__main__":
    main()
