"""sds3d estimate: the memory that a run needs, and whether this machine has it; loads and fetches nothing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sds3d.cli.prior_option import HELP, preset_for, prior_overrides
from sds3d.files import user_path

if TYPE_CHECKING:
    from sds3d.config.schema import Config
    from sds3d.preflight.estimate import Estimate

GIB = 2**30


def main(argv: list[str]) -> int:
    """Prints the memory of the run; returns 0 if it fits, else 1."""
    parser = argparse.ArgumentParser(
        "sds3d estimate",
        usage="sds3d estimate [--config FILE] [--prior PATH_OR_NAME] [--gpu-gib N] [--debug] [key=value ...]",
        description=__doc__,
    )
    parser.add_argument("words", nargs="*", metavar="key=value", help="config values")
    parser.add_argument("--config", type=user_path, metavar="FILE", help="a YAML file, or the name of a preset")
    parser.add_argument("--prior", metavar="PATH_OR_NAME", help=HELP)
    parser.add_argument("--gpu-gib", type=float, metavar="N", help="assume a GPU with N GiB of memory")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    args = parser.parse_intermixed_args(argv)

    from sds3d.config.load import load_config

    chosen = prior_overrides(args.prior)
    any_prompt = "an asset"  # the prompt does not affect the memory
    cfg = load_config(args.config or preset_for(args.prior), chosen + args.words, any_prompt)

    from sds3d.native.devices import resolve_device
    from sds3d.preflight.estimate import estimate

    device_type = "cuda" if args.gpu_gib is not None else resolve_device(cfg.device).type
    found = estimate(cfg, device_type)
    print(table(found))
    print(finishing_table(cfg))
    print_priors(cfg)
    fits, reason = judge(found, device_type, args.gpu_gib)
    print(("fits: " if fits else "does not fit: ") + reason)
    return 0 if fits else 1


def table(found: Estimate) -> str:
    """A table with a column for each stage and a row for each use of memory, in GiB."""
    stages = found.stages
    rows = [
        ("stage", *(stage.name for stage in stages)),
        ("prior", *(Path(stage.prior).name for stage in stages)),
        ("steps", *(str(stage.steps) for stage in stages)),
        ("targets", *(str(stage.targets) for stage in stages)),
        ("network calls", *(str(stage.network_calls) for stage in stages)),
        ("images a target", *(str(stage.num_images) for stage in stages)),
        ("rows a call", *(str(stage.rows) for stage in stages)),
        *((f"{part} GiB", *(f"{stage.parts[part] / GIB:.2f}" for stage in stages)) for part in stages[0].parts),
        ("at once GiB", *(f"{stage.needed / GIB:.2f}" for stage in stages)),
        ("with margin GiB", *(f"{stage.with_margin / GIB:.2f}" for stage in stages)),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(x.rjust(w) for x, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def finishing_table(cfg: Config) -> str:
    """The memory of the steps after the optimization, one at a time, in GiB by the setting that decides on it."""
    from sds3d.preflight.finishing import finishing_parts

    return "\n".join(f"then {key} {size / GIB:.2f} GiB" for key, size in finishing_parts(cfg).items())


def print_priors(cfg: Config) -> None:
    """Where each prior of the run is, or how to get it."""
    from sds3d.errors import UserError
    from sds3d.priors.kinds import kind_of, named_priors

    for prior, key in named_priors(cfg).items():
        try:
            found = kind_of(prior).find(key)
            print(f"{key}: {found.path if prior.path else 'comes with sds3d'}")
        except UserError as error:
            print(error)


def judge(found: Estimate, device_type: str, gpu_gib: float | None) -> tuple[bool, str]:
    """Whether the run fits, and the numbers behind that."""
    from sds3d.preflight.estimate import CONTEXT, gpu_memory
    from sds3d.preflight.finishing import host_memory

    host = f"{found.host / GIB:.1f} GiB of the host's"
    if device_type == "cpu":
        have = host_memory()
        return found.host <= have, f"the run needs about {host} memory, this machine has {have / GIB:.1f} GiB"
    stage = found.largest
    if gpu_gib is None:
        gpu = gpu_memory()
        have, whose = gpu.free + CONTEXT, f"{gpu.name} has {(gpu.free + CONTEXT) / GIB:.1f} GiB to give"
    else:
        have, whose = round(gpu_gib * GIB), f"the given GPU has {gpu_gib:g} GiB"
    needs = f"stage {stage.name} needs about {stage.with_margin / GIB:.1f} GiB of GPU memory, margin included"
    if CONTEXT + found.finishing > stage.with_margin:
        needs = f"mesh and preview need about {(CONTEXT + found.finishing) / GIB:.1f} GiB of GPU memory"
    fits = max(stage.with_margin, CONTEXT + found.finishing) <= have and found.host <= host_memory()
    return fits, f"{needs}, and {host}; {whose}"
