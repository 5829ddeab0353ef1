"""sds3d prior: list, preview, fetch, verify, convert and train priors."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sds3d.cli.prior_option import HELP, preset_for, prior_overrides
from sds3d.cli.terminal import typed
from sds3d.files import user_path

USAGE = """\
usage: sds3d prior preview PROMPT [--prior PATH_OR_NAME] [--out FILE] [--seed N]
       sds3d prior list
       sds3d prior fetch NAME
       sds3d prior verify PATH_OR_NAME
       sds3d prior convert SOURCE FOLDER
       sds3d prior train [--objects DIR] --out FOLDER ...

  preview   draw the views of PROMPT that the prior imagines: what a run can hope for, in seconds
  list      the known models: how large, under which license, and whether they are on this machine
  fetch     download a known model to the cache of Hugging Face
  verify    compare the files of a prior with their expected sha256
  convert   any layout of MVDream to a folder of our own, which is smaller and loads faster
  train     train a multi-view prior, also on meshes of your own; `sds3d prior train --help` says more"""


def main(argv: list[str]) -> int:
    """Runs the verb of `prior` that `argv` begins with; returns the exit code."""
    from sds3d.errors import UserError

    match argv[:1]:
        case ["preview"]:
            return preview(argv[1:])
        case ["list"]:
            return list_models(argv[1:])
        case ["fetch"]:
            return fetch_model(argv[1:])
        case ["verify"]:
            return verify_files(argv[1:])
        case ["convert"]:
            from sds3d.priors import convert

            return convert.main(argv[1:])
        case ["train"]:
            from sds3d.priors.pocket import train

            train.main(argv[1:])
            return 0
        case ["-h"] | ["--help"]:
            print(USAGE)
            return 0
        case _:
            raise UserError(
                "expected `sds3d prior preview PROMPT`, list, fetch, verify, convert or train; see `sds3d prior --help`"
            )


def preview(argv: list[str]) -> int:
    """Writes a picture of the views side by side and prints its path; returns the exit code."""
    parser = _parser("preview", "draw the views that a prior imagines")
    parser.add_argument("prompt", help="what to draw, in quotes")
    parser.add_argument("--out", type=user_path, default=Path("prior.png"), metavar="FILE", help="default: prior.png")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--prior", default="pocket", metavar="PATH_OR_NAME", help=HELP)
    args = parser.parse_args(argv)

    from sds3d.config.load import load_config
    from sds3d.errors import UserError
    from sds3d.files import atomic_write

    if args.out.suffix != ".png":
        raise UserError(f"--out: expected a name that ends in .png, got {str(args.out)!r}")
    chosen = prior_overrides(args.prior)
    cfg = load_config(preset_for(args.prior), [*chosen, f"seed={args.seed}"], typed(args.prompt))

    import torch

    from sds3d.cameras import turntable
    from sds3d.imaging.png import png
    from sds3d.native.devices import resolve_device
    from sds3d.priors import build_prior
    from sds3d.priors.kinds import GUESSED, unread_message, unread_texts_of, unseen_words_of
    from sds3d.priors.sample import sample_views

    device = resolve_device(cfg.device)
    prior = build_prior(cfg.prior, device)
    cameras = turntable(prior.num_views, prior.resolution).to(device)
    backgrounds = torch.full((prior.num_views, 3), 0.5, device=device)
    generator = torch.Generator().manual_seed(cfg.seed)
    images = sample_views(prior, cfg.prompt, cfg.negative_prompt, cameras, backgrounds, generator)
    row = images.movedim(1, -1).cpu()  # [C, H, W, 3]
    atomic_write(args.out, png(torch.cat(list(row), 1)))
    if words := unseen_words_of(cfg):
        print(f"{GUESSED}: {', '.join(words)}", file=sys.stderr)
    for key, end in unread_texts_of(cfg).items():
        print(unread_message(key, end), file=sys.stderr)
    print(args.out)
    return 0


def list_models(argv: list[str]) -> int:
    """Prints a table of the known models; returns the exit code."""
    _parser("list", "the known models, each of which `sds3d prior fetch` downloads").parse_args(argv)

    from sds3d.files import megabytes
    from sds3d.priors.known import KNOWN, find_local

    row = "{:<15}{:<18}{:>6}{:>9}  {:<26}{}"
    print(row.format("name", "kind", "pixels", "size", "license", "where"))
    print(row.format("pocket", "pocket", 64, "", "Apache-2.0", "comes with sds3d"))
    for model in KNOWN:
        size, where = megabytes(round(model.sources[0].size)), find_local(model) or "-"
        print(row.format(model.name, model.kind, model.resolution, size, model.license, where))
    return 0


def fetch_model(argv: list[str]) -> int:
    """Downloads a known model unless it is installed, and prints its path; returns the exit code."""
    parser = _parser("fetch", "download a known model; an interrupted download is resumed")
    parser.add_argument("name", help="of `sds3d prior list`")
    args = parser.parse_args(argv)

    from sds3d.priors.fetch import fetch
    from sds3d.priors.known import find_known, unknown_model

    model = find_known(args.name)
    if model is None:
        raise unknown_model(args.name, "sds3d prior fetch")
    print(fetch(model, lambda text: print(text, file=sys.stderr)))
    return 0


def verify_files(argv: list[str]) -> int:
    """Prints the files of a prior that have changed; returns 0 if there are none, else 1."""
    parser = _parser("verify", "compare files with their expected sha256")
    parser.add_argument("prior", metavar="PATH_OR_NAME", help=HELP)
    args = parser.parse_args(argv)

    from sds3d.errors import UserError
    from sds3d.priors.known import locate
    from sds3d.priors.weights import MANIFEST, POCKET, damages, known_digests

    path = POCKET if args.prior == "pocket" else locate(args.prior, "sds3d prior verify")
    digests = known_digests(path)
    if not digests:
        raise UserError(
            f"{path}: no checksums for its files: it has no {MANIFEST} and is not in the cache of Hugging "
            "Face; `sds3d prior convert` makes a folder that has one"
        )
    damaged = damages(digests)
    print("\n".join(damaged) or f"ok: {len(digests)} files of {path}")
    return 1 if damaged else 0


def _parser(verb: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(f"sds3d prior {verb}", description=description)
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser
