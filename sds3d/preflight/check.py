"""Checks before a run that its priors are installed and fit in GPU memory."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

from sds3d.config.schema import Config, PriorConfig
from sds3d.errors import UserError
from sds3d.priors.kinds import find_priors, kind_of, named_priors
from sds3d.priors.weights import Found


def preflight(cfg: Config) -> dict[PriorConfig, Found]:
    """The weights of the run's priors; UserError lists everything missing, or the lack of memory. Writes nothing.

    Memory is checked only for large priors on a GPU.
    """
    found = find_priors(cfg)
    if all(kind_of(prior).small for prior in found):
        return found
    from sds3d.native.devices import resolve_device

    if resolve_device(cfg.device).type == "cuda":
        _check_compiler(named_priors(cfg))
        _check_room(cfg)
    return found


def _check_compiler(priors: dict[PriorConfig, str]) -> None:
    """Checks for a C compiler and Python.h: Triton builds a small Python extension for each kernel."""
    compiling = [key for prior, key in priors.items() if kind_of(prior).compiles]
    if not compiling:
        return
    key = compiling[0].removesuffix("path") + "compile"
    compilers = [os.environ.get("CC"), "gcc", "clang"]  # as Triton looks for one
    if not any(name and shutil.which(name) for name in compilers):
        raise UserError(f"{key}: needs a C compiler, got none of $CC, gcc, clang; apt-get install gcc, or {key}=false")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        raise UserError(f"{key}: needs {header}, which does not exist; apt-get install python3-dev, or {key}=false")


def _check_room(cfg: Config) -> None:
    """UserError if the run certainly does not fit; the margin of the estimate is not counted."""
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
