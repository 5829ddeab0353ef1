"""sds3d prior: look at what a prior draws by itself, or train one of your own objects."""

from __future__ import annotations

import argparse
from pathlib import Path

USAGE = """\
usage: sds3d prior preview PROMPT [--out FILE] [--seed N] [--path FOLDER]
       sds3d prior train ...

  preview   draw the views of PROMPT that the prior imagines: what a run can hope for, in seconds
  train     train a multi-view prior; `sds3d prior train --help` says more"""


def main(argv: list[str]) -> int:
    """Runs `prior preview` or `prior train`; returns the exit code."""
    from sds3d.errors import UserError

    match argv[:1]:
        case ["preview"]:
            return preview(argv[1:])
        case ["train"]:
            from sds3d.priors.pocket import train

            train.main(argv[1:])
            return 0
        case ["-h"] | ["--help"]:
            print(USAGE)
            return 0
        case _:
            raise UserError("expected `sds3d prior preview PROMPT` or `sds3d prior train`; see `sds3d prior --help`")


def preview(argv: list[str]) -> int:
    """Writes a picture of the views side by side and prints its path; returns the exit code."""
    parser = argparse.ArgumentParser("sds3d prior preview", description="draw the views that a prior imagines")
    parser.add_argument("prompt", help="what to draw, in quotes")
    parser.add_argument("--out", type=Path, default=Path("prior.png"), metavar="FILE", help="default: prior.png")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--path", default="", metavar="FOLDER", help="a prior of your own (default: the shipped one)")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    args = parser.parse_args(argv)

    from sds3d.errors import UserError
    from sds3d.files import atomic_write
    from sds3d.settings import load_config

    if args.out.suffix != ".png":
        raise UserError(f"--out: expected a name that ends in .png, got {str(args.out)!r}")
    cfg = load_config(None, [f"prior.path={args.path}", f"seed={args.seed}"], args.prompt)

    import torch

    from sds3d.cameras import turntable
    from sds3d.devices import resolve_device
    from sds3d.pictures import png
    from sds3d.priors import build_prior
    from sds3d.priors.sample import sample_views

    device = resolve_device(cfg.device)
    prior = build_prior(cfg.prior, device)
    cameras = turntable(prior.num_views, prior.resolution).to(device)
    backgrounds = torch.full((prior.num_views, 3), 0.5, device=device)
    generator = torch.Generator().manual_seed(cfg.seed)
    images = sample_views(prior, cfg.prompt, cfg.negative_prompt, cameras, backgrounds, generator)
    row = images.movedim(1, -1).cpu()  # [C, H, W, 3]
    atomic_write(args.out, png(torch.cat(list(row), 1)))
    print(args.out)
    return 0
