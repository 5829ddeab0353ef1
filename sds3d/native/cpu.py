"""Finds, builds if necessary, and loads the native CPU library of cuda_ext.

setup.py loads this file alone to build the library: it imports nothing of sds3d at the top.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from ctypes import POINTER, c_char_p, c_float, c_int32, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ABI_VERSION = 3  # SDS3D_ABI_VERSION of cuda_ext/api.h
COMPILE_FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-pthread", "-fvisibility=hidden", "-w")
PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class NativeStatus:
    """Which library was loaded and why; `path` is None when there is none."""

    path: Path | None
    how: str  # "prebuilt", "cached", "compiled" or "missing"
    reason: str

    def __str__(self) -> str:
        return f"{self.how}: {self.reason}" + ("" if self.path is None else f" ({self.path})")


def load_library() -> ctypes.CDLL | None:
    """The loaded library, or None; `status()` gives the reason."""
    return _load()[0]


def status() -> NativeStatus:
    """Where the library came from, for `sds3d doctor`."""
    return _load()[1]


def num_threads() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def library_name(sources: Path) -> str:
    """File name of the CPU library built from `sources` for this machine's architecture."""
    digest = hashlib.sha256(repr(COMPILE_FLAGS).encode())
    for path in sorted([*sources.glob("*.h"), *sources.glob("*/*.h"), *sources.glob("*/*.cpp")]):
        digest.update(path.relative_to(sources).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"libsds3d_cpu-{platform.system().lower()}-{platform.machine()}-{digest.hexdigest()[:16]}.so"


def find_compiler() -> str | None:
    """$CXX, or the first C++ compiler on PATH."""
    named = os.environ.get("CXX")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, ("g++", "clang++", "c++"))), None)


def compile_library(sources: Path, target: Path, compiler: str) -> None:
    """Builds the library at `target`, complete or not at all; raises OSError with the compiler's message."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as folder:
        built = Path(folder) / target.name
        command = [compiler, *COMPILE_FLAGS, *map(str, sorted(sources.glob("*/*.cpp"))), "-o", str(built)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise OSError(f"{compiler} failed: {result.stderr.strip()[-500:]}")
        os.replace(built, target)


def find_sources() -> Path | None:
    """cuda_ext of the checkout, or the copy in the installed package."""
    candidates = (PACKAGE.parent / "cuda_ext", PACKAGE / "_native" / "cuda_ext")
    return next((path for path in candidates if (path / "api.h").is_file() and (path / "splat").is_dir()), None)


@cache
def _load() -> tuple[ctypes.CDLL | None, NativeStatus]:
    failures = []
    for find in (_prebuilt, _compiled):
        try:
            path, how, reason = find()
            return _open(path), NativeStatus(path, how, reason)
        except OSError as error:
            failures.append(str(error))
    return None, NativeStatus(None, "missing", "; ".join(failures))


def _prebuilt() -> tuple[Path, str, str]:
    """The library that came with the package; in a checkout only if it was built from the sources as they are now."""
    sources = find_sources()
    if sources is not None:
        path = PACKAGE / "_native" / library_name(sources)
        if path.is_file():
            return path, "prebuilt", "built when the package was installed"
        raise OSError("the package holds no library for this machine and these sources")
    pattern = f"libsds3d_cpu-{platform.system().lower()}-{platform.machine()}-*.so"
    for path in sorted((PACKAGE / "_native").glob(pattern)):
        return path, "prebuilt", "came with the package"
    raise OSError(f"no {pattern} in {PACKAGE / '_native'}")


def _compiled() -> tuple[Path, str, str]:
    """The library in the user's cache, compiled first if it is not there."""
    from sds3d.files import cache_folder

    sources = find_sources()
    if sources is None:
        raise OSError("the C++ sources are not installed")
    path = cache_folder() / library_name(sources)
    if path.is_file():
        return path, "cached", "compiled on an earlier run"
    compiler = find_compiler()
    if compiler is None:
        raise OSError("no C++ compiler found (install g++, or set CXX)")
    compile_library(sources, path, compiler)
    return path, "compiled", f"compiled now with {compiler}"


def _open(path: Path) -> ctypes.CDLL:
    from sds3d.native.abi import Cotangents, Gradients, Images, Scene

    loaded = ctypes.CDLL(str(path))
    if loaded.sds3d_abi_version() != ABI_VERSION:
        raise OSError(f"{path} has another interface version than this package: reinstall sds3d")
    loaded.sds3d_simd_name.argtypes = [c_int32]
    loaded.sds3d_simd_name.restype = c_char_p
    loaded.sds3d_splat_cutoffs.argtypes = [POINTER(c_float * 5)]
    loaded.sds3d_splat_cutoffs.restype = None
    loaded.sds3d_splat_forward.argtypes = [POINTER(Scene), POINTER(Images), c_int32, c_int32]
    loaded.sds3d_splat_forward.restype = c_void_p
    loaded.sds3d_splat_backward.argtypes = [
        c_void_p, POINTER(Scene), POINTER(Images), POINTER(Cotangents), POINTER(Gradients), c_int32,
    ]  # fmt: skip
    loaded.sds3d_splat_free.argtypes = [c_void_p]
    loaded.sds3d_splat_free.restype = None
    return loaded
