"""What a run needs and can be known to be missing before it begins: its priors, and room for them on the GPU."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

from sds3d.config.schema import Config, MVDreamConfig, PocketConfig, PriorConfig, RunPriorConfig
from sds3d.errors import UserError
from sds3d.priors.known import existing_path, locate


def preflight(cfg: Config) -> None:
    """UserError with all that is missing, or with the memory that is; writes nothing.

    Memory is asked for only where it can be short: the pocket prior fits on any GPU.
    """
    priors = named_priors(cfg)
    problems = [problem for prior, key in priors.items() if (problem := _missing(prior, key))]
    if problems:
        raise UserError("; ".join(problems))
    if all(isinstance(prior, PocketConfig) for prior in priors):
        return
    from sds3d.native.devices import resolve_device

    if resolve_device(cfg.device).type == "cuda":
        _check_compiler(priors)
        _check_room(cfg)


def named_priors(cfg: Config) -> dict[PriorConfig, str]:
    """The priors that some stage asks, with the key that names each first."""
    priors: dict[PriorConfig, str] = {}
    for index, stage in enumerate(cfg.stages):
        if isinstance(stage.prior, RunPriorConfig):
            priors.setdefault(cfg.prior, "prior.path")
        else:
            priors.setdefault(stage.prior, f"stages.{index}.prior.path")
    return priors


def _missing(prior: PriorConfig, key: str) -> str | None:
    """Why `prior` cannot be found, or None."""
    if isinstance(prior, PocketConfig):
        if not prior.path or existing_path(prior.path):
            return None
        return f"{key}: {prior.path}: no such folder; expected one that `sds3d prior train` made"
    try:
        found = locate(prior.path, key)
        if isinstance(prior, MVDreamConfig) and found.is_file():
            from sds3d.priors.mvdream.files import find_tokenizer  # which imports torch

            find_tokenizer(found)
    except UserError as error:
        return str(error)
    return None


def _check_compiler(priors: dict[PriorConfig, str]) -> None:
    """What torch.compile needs on a GPU: Triton builds a small extension of Python for each kernel."""
    compiling = [key for prior, key in priors.items() if not isinstance(prior, PocketConfig) and prior.compile]
    if not compiling:
        return
    key = compiling[0].removesuffix("path") + "compile"
    compilers = [os.environ.get("CC"), "gcc", "clang"]  # as Triton looks for one
    if not any(name and shutil.which(name) for name in compilers):
        raise UserError(f"{key}: needs a C compiler, got none of $CC, gcc, clang; apt-get install gcc, or {key}=false")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        raise UserError(f"{key}: needs {header}, which is not there; apt-get install python3-dev, or {key}=false")


def _check_room(cfg: Config) -> None:
    """Refuses what is sure not to fit; the margin of an estimate is no reason to."""
    from sds3d.preflight.estimate import CONTEXT, GIB, estimate, gpu_memory

    stage = estimate(cfg, "cuda").largest
    gpu = gpu_memory()
    if stage.needed - CONTEXT <= gpu.free:
        return
    index = cfg.stages.index(next(other for other in cfg.stages if other.name == stage.name))
    raise UserError(
        f"stages.{index}: {stage.name} needs about {stage.needed / GIB:.1f} GiB of GPU memory for {stage.num_images} "
        f"images at once, {gpu.name} has {gpu.free / GIB:.1f} GiB free; lower stages.{index}.num_orbits, encode fewer "
        "images at once with vae_batch=1 of its prior, or see `sds3d estimate` for what takes how much"
    )
