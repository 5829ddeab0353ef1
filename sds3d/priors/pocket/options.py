"""The options of the pocket prior's training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sds3d.errors import UserError
from sds3d.files import user_path
from sds3d.priors.pocket import model
from sds3d.priors.weights import POCKET, verify

# of options that the user omits
DEFAULTS = {"steps": 16000, "lr": 5e-4, "ema": 0.9995}
DEFAULTS_WITH_OBJECTS = {"steps": 2000, "lr": 2e-4, "ema": 0.998, "mix": 0.5, "init": POCKET}


@dataclass(frozen=True)
class TrainingConfig:
    """A training of the pocket prior, with every default filled in."""

    out: Path  # folder of the new prior
    objects: Path | None  # folder of the user's meshes
    mix: float | None  # with `objects`: share of procedural objects, 0 to less than 1
    init: Path | None  # a trained prior to start from
    text: Path  # folder of the text encoder
    steps: int
    batch: int  # objects per step and process
    channels: list[int]  # of the network's levels
    layers: int  # residual blocks per level
    normals: bool  # whether the prior predicts normals in addition to colors
    lr: float
    ema: float  # decay of the running average of the weights
    seed: int
    workers: int  # processes that generate objects
    compile: bool
    log_every: int  # steps
    save_every: float  # seconds
    device: str


def parse(argv: Sequence[str] | None) -> TrainingConfig:
    """The options in `argv`, or on the command line if it is None."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(prog="sds3d prior train", description="train the pocket prior")
    parser.add_argument(
        "--out", type=user_path, required=True, help="folder of the new prior; an unfinished one is continued"
    )
    parser.add_argument(
        "--objects", type=user_path, metavar="DIR", help="a folder of your meshes (GLB, glTF, OBJ) with captions.jsonl"
    )
    parser.add_argument("--mix", type=float, help="with --objects: share of procedural objects (default: 0.5)")
    parser.add_argument(
        "--init", type=user_path, help="a trained prior to start from (default: none; with --objects, the shipped one)"
    )
    parser.add_argument("--text", type=user_path, help="text encoder (default: that of --init, or the shipped one)")
    parser.add_argument("--steps", type=int, help="default: 16000; with --objects, 2000")
    parser.add_argument("--batch", type=int, default=64, help="objects per step and process, four views each")
    parser.add_argument("--channels", type=int, nargs="+", help="default: those of --init, or 96 192 256")
    parser.add_argument("--layers", type=int, help="residual blocks per level (default: those of --init, or 1)")
    parser.add_argument(
        "--normals", action="store_true", help="predict normals in addition to colors; implied if --init predicts them"
    )
    parser.add_argument("--lr", type=float, help="default: 5e-4; with --objects, 2e-4")
    parser.add_argument("--ema", type=float, help="default: 0.9995; with --objects, 0.998")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=12 if cuda else 0, help="processes that generate objects")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=cuda, help="torch.compile")
    parser.add_argument("--log-every", type=int, default=100, help="steps")
    parser.add_argument("--save-every", type=float, default=120.0, help="seconds")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if cuda else "cpu")
    return complete(parser.parse_args(argv))


def complete(args: argparse.Namespace) -> TrainingConfig:
    """`args` with every default filled in; raises UserError for options that contradict one another."""
    if args.mix is not None and not args.objects:
        raise UserError(
            "--mix: needs --objects DIR, since it is the share of procedural objects in training on your meshes"
        )
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
    return TrainingConfig(**vars(args))
