"""Checks before a run that its priors are installed, and that it fits in memory."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

from sds3d.config.schema import Config, PriorConfig
from sds3d.errors import UserError
from sds3d.preflight.finishing import RESERVED, finishing_parts, host_memory
from sds3d.priors.kinds import find_priors, kind_of, named_priors
from sds3d.priors.weights import Found

GIB = 2**30
LEAST = 3 * GIB // 4  # that any run fills, mostly with Python and its libraries; the preset smoke fills 0.76 GiB
LIGHT_COUNT = 200_000  # of the numbers of a representation, such as its splats
LIGHT_ORBITS, LIGHT_PIXELS = 8, 1 << 19  # of a stage; the pixels are those of one view of each orbit


def preflight(cfg: Config) -> dict[PriorConfig, Found]:
    """The weights of the run's priors; UserError lists everything missing, or the lack of memory. Writes nothing.

    The memory of a light optimization is not estimated, which would import torch.
    """
    found = find_priors(cfg)
    _check_finishing(cfg)
    if all(kind_of(prior).small for prior in found) and _is_light(cfg):
        return found
    from sds3d.native.devices import resolve_device

    if resolve_device(cfg.device).type == "cuda":
        _check_compiler(named_priors(cfg))
        _check_room(cfg)
    else:
        _check_host(cfg)
    return found


def _is_light(cfg: Config) -> bool:
    """Whether the optimization with a small prior surely needs less than a gigabyte, whatever its scene is."""
    counts = [value for value in vars(cfg.representation).values() if isinstance(value, int)]
    return max(counts) <= LIGHT_COUNT and all(
        stage.num_orbits <= LIGHT_ORBITS and stage.num_orbits * stage.resolution**2 <= LIGHT_PIXELS
        for stage in cfg.stages
    )


def _check_finishing(cfg: Config) -> None:
    """UserError if this machine certainly lacks the memory of the steps after the optimization."""
    parts, have = finishing_parts(cfg), host_memory()
    if have < LEAST:
        raise UserError(
            f"a run needs at least {LEAST / GIB:.2f} GiB of memory and {RESERVED / GIB:.0f} GiB of address space, "
            f"this process may use {have / GIB:.2f} GiB; raise its limit (`ulimit -v`), or use a larger machine"
        )
    key = max(parts, key=lambda key: parts[key])
    if LEAST + parts[key] > have:
        section, name = key.split(".")
        value = getattr(getattr(cfg, section), name)
        raise UserError(
            f"{key}: {value} needs about {(LEAST + parts[key]) / GIB:.1f} GiB of memory after the optimization, this "
            f"process may use {have / GIB:.1f} GiB; lower {key}"
        )


def _check_host(cfg: Config) -> None:
    """UserError if an optimization on a CPU certainly does not fit."""
    from sds3d.preflight.estimate import estimate

    stage, have = estimate(cfg, "cpu").largest, host_memory()
    if LEAST + stage.needed <= have:
        return
    index = cfg.stages.index(next(other for other in cfg.stages if other.name == stage.name))
    raise UserError(
        f"stages.{index}: {stage.name} needs about {(LEAST + stage.needed) / GIB:.1f} GiB of memory for "
        f"{stage.num_images} images at once, this process may use {have / GIB:.1f} GiB; lower "
        f"stages.{index}.num_orbits or stages.{index}.resolution, or see `sds3d estimate` for what takes how much"
    )


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
    from sds3d.preflight.estimate import CONTEXT, estimate, gpu_memory

    found = estimate(cfg, "cuda")
    stage, gpu = found.largest, gpu_memory()
    if found.finishing > gpu.free:
        raise UserError(
            f"mesh, preview: needs about {found.finishing / GIB:.1f} GiB of GPU memory after the optimization, "
            f"{gpu.name} has {gpu.free / GIB:.1f} GiB free; lower mesh.texture_size, mesh.bake_resolution or "
            "preview.resolution"
        )
    if stage.needed - CONTEXT <= gpu.free:
        return
    index = cfg.stages.index(next(other for other in cfg.stages if other.name == stage.name))
    raise UserError(
        f"stages.{index}: {stage.name} needs about {stage.needed / GIB:.1f} GiB of GPU memory for {stage.num_images} "
        f"images at once, {gpu.name} has {gpu.free / GIB:.1f} GiB free; lower stages.{index}.num_orbits, encode fewer "
        "images at once with vae_batch=1 of its prior, or see `sds3d estimate` for what takes how much"
    )
