"""Finds, builds if necessary, and loads the native CPU library of cuda_ext.

setup.py imports this file to build the library, before the dependencies of sds3d are installed.
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

from sds3d.files import cache_folder, read_cached, write_cached

ABI_VERSION = 4  # SDS3D_ABI_VERSION of cuda_ext/api.h
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
    """Builds the library at `target`, with its digest; raises OSError with the compiler's message.

    `target` is complete or not there at all.
    """
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / target.name
        command = [compiler, *COMPILE_FLAGS, *map(str, sorted(sources.glob("*/*.cpp"))), "-o", str(built)]
        result = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
        if result.returncode:
            raise OSError(f"{compiler} failed: {result.stderr.strip()[-500:]}")
        write_cached(target, built.read_bytes())


def find_sources() -> Path | None:
    """cuda_ext of the checkout, or the copy in the installed package."""
    candidates = (PACKAGE.parent / "cuda_ext", PACKAGE / "_native" / "cuda_ext")
    return next((path for path in candidates if (path / "api.h").is_file() and (path / "splat").is_dir()), None)


@cache
def _load() -> tuple[ctypes.CDLL | None, NativeStatus]:
    passed_over: list[str] = []
    for how, find in (("prebuilt", _prebuilt), ("cached", _cached), ("compiled", _compiled)):
        try:
            path, reason = find()
            read_cached(path)  # a part of a library would end the process with SIGBUS
            return _open(path), NativeStatus(path, how, "; ".join([reason, *passed_over]))
        except OSError as error:
            passed_over.append(f"not {how}: {error}")
    return None, NativeStatus(None, "missing", "; ".join(passed_over))


def _prebuilt() -> tuple[Path, str]:
    """The library that came with the package; in a checkout only if it was built from the sources as they are now."""
    sources = find_sources()
    if sources is not None:
        path = PACKAGE / "_native" / library_name(sources)
        if path.is_file():
            return path, "built when the package was installed"
        raise OSError("the package holds no library for this machine and these sources")
    pattern = f"libsds3d_cpu-{platform.system().lower()}-{platform.machine()}-*.so"
    for path in sorted((PACKAGE / "_native").glob(pattern)):
        return path, "came with the package"
    raise OSError(f"no {pattern} in {PACKAGE / '_native'}")


def _cached() -> tuple[Path, str]:
    """The library that an earlier run compiled."""
    path = _cache_path(_sources())
    if not path.is_file():
        raise OSError(f"no {path.name} in {path.parent}")
    return path, "compiled on an earlier run"


def _compiled() -> tuple[Path, str]:
    """The library, compiled now into the user's cache."""
    sources, compiler = _sources(), find_compiler()
    if compiler is None:
        raise OSError("no C++ compiler found (install g++, or set CXX)")
    path = _cache_path(sources)
    compile_library(sources, path, compiler)
    return path, f"compiled now with {compiler}"


def _cache_path(sources: Path) -> Path:
    return cache_folder() / library_name(sources)


def _sources() -> Path:
    sources = find_sources()
    if sources is None:
        raise OSError("the C++ sources are not installed")
    return sources


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
