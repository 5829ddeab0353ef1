"""Finds, compiles if necessary, and loads the CUDA kernels of cuda_ext.

Three ways, in this order: the fatbin that setup.py made where there was an nvcc; what NVRTC made on an earlier run, in
the user's cache; NVRTC now. The environment variable SDS3D_CUDA_KERNELS=prebuilt or =nvrtc (the last two) leaves out
the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from time import perf_counter

import torch

from sds3d.errors import UserError
from sds3d.files import cache_folder, read_cached, write_cached
from sds3d.native import cpu as native
from sds3d.native import cuda_build, nvrtc
from sds3d.native.driver import Module


@dataclass(frozen=True)
class KernelStatus:
    """Which machine code was loaded and why, and why the alternatives before it failed."""

    path: Path | None  # None if there is no file: missing, or compiled where the cache cannot be written
    how: str  # "prebuilt", "cached", "compiled" or "missing"
    reason: str
    compile_seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.how}: {self.reason}" + ("" if self.path is None else f" ({self.path})")


Way = Callable[[str, int], tuple[Module, KernelStatus]]


def load(unit: str, device: torch.device | str | int) -> Module:
    """Kernels by name of `unit`, one of cuda_build.UNITS, on a CUDA `device`; loaded once, so cheap to call again.

    UserError if they cannot be loaded.
    """
    module, found = _load(unit, _index(device))
    if module is None:
        raise UserError(
            f"the CUDA kernels of {unit} cannot be loaded ({found.reason}); "
            "install a CUDA build of torch, or install sds3d again where nvcc is"
        )
    return module


def status(unit: str, device: torch.device | str | int) -> KernelStatus:
    """How `load` gets the kernels, which it does if it has not yet; `how` is "missing" where it raises."""
    return _load(unit, _index(device))[1]


def prebuilt_path(unit: str) -> Path:
    """The fatbin that came with the package; in a checkout only if it was built from the sources as they are now.

    OSError if there is none.
    """
    path = native.PACKAGE / "_native" / cuda_build.fatbin_name(_sources_folder(), unit)
    if not path.is_file():
        raise OSError(f"the package holds no {path.name} (built at installation where nvcc is found)")
    return path


def _index(device: torch.device | str | int) -> int:
    index = torch.device("cuda", device).index if isinstance(device, int) else torch.device(device).index
    return torch.cuda.current_device() if index is None else index


@cache
def _load(unit: str, index: int) -> tuple[Module | None, KernelStatus]:
    passed_over: list[str] = []
    for name, way in _ways().items():
        try:
            module, found = way(unit, index)
            return module, replace(found, reason="; ".join([found.reason, *passed_over]))
        except (OSError, RuntimeError) as error:
            passed_over.append(f"not {name}: {error}")
    return None, KernelStatus(None, "missing", "; ".join(passed_over))


def _ways() -> dict[str, Way]:
    ways: dict[str, Way] = {"prebuilt": _prebuilt, "cached": _cached, "compiled": _compiled}
    match os.environ.get("SDS3D_CUDA_KERNELS", ""):
        case "":
            return ways
        case "prebuilt":
            return {"prebuilt": _prebuilt}
        case "nvrtc":
            return {"cached": _cached, "compiled": _compiled}
        case other:
            raise UserError(f"SDS3D_CUDA_KERNELS: expected prebuilt or nvrtc, got {other!r}; unset it to try both")


def _prebuilt(unit: str, index: int) -> tuple[Module, KernelStatus]:
    path = prebuilt_path(unit)
    return Module(read_cached(path), index), KernelStatus(path, "prebuilt", "built when the package was installed")


def _cached(unit: str, index: int) -> tuple[Module, KernelStatus]:
    path = _cache_path(unit, index)
    if not path.is_file():
        raise OSError(f"no {path.name} in {path.parent}")
    return Module(read_cached(path), index), KernelStatus(path, "cached", "compiled by NVRTC on an earlier run")


def _compiled(unit: str, index: int) -> tuple[Module, KernelStatus]:
    started = perf_counter()
    architecture = nvrtc.target(_capability(index))
    sources = cuda_build.read_sources(_sources_folder(), unit)
    image = nvrtc.compile_sources(sources, architecture, cuda_build.COMPILE_FLAGS)
    seconds = perf_counter() - started
    module = Module(image, index)
    path, reason = _cache_path(unit, index), f"compiled now by NVRTC for {architecture} in {seconds:.1f} s"
    try:
        write_cached(path, image)
    except OSError as error:
        return module, KernelStatus(None, "compiled", f"{reason}, as on every run: {error}", seconds)
    return module, KernelStatus(path, "compiled", reason, seconds)


def _cache_path(unit: str, index: int) -> Path:
    """Where the image for this device lies: a cubin, or PTX where NVRTC does not know the device."""
    key = cuda_build.digest(
        cuda_build.read_sources(_sources_folder(), unit), (*cuda_build.COMPILE_FLAGS, str(torch.version.cuda))
    )
    return cache_folder() / f"sds3d_{unit}-sm_{_capability(index)}-{key}.cubin"


def _capability(index: int) -> int:
    major, minor = torch.cuda.get_device_capability(index)
    return 10 * major + minor


def _sources_folder() -> Path:
    folder = native.find_sources()
    if folder is None:
        raise OSError("the CUDA sources are not installed")
    return folder
