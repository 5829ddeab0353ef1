"""Copies the presets into the package and builds the native libraries where a C++ compiler or nvcc is found.

The rest is in pyproject.toml.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # a build frontend runs this file without its folder on the path

from sds3d.files import read_cached  # noqa: E402
from sds3d.native import cpu as native  # noqa: E402
from sds3d.native import cuda_build  # noqa: E402

SOURCES = ROOT / "cuda_ext"
PRESETS = sorted((ROOT / "configs").glob("*.yaml"))
KERNEL_SOURCES = sorted(path for path in SOURCES.glob("**/*") if path.is_file())


class BuildWithNative(build_py):
    """Adds the presets, the native libraries and their sources to the built package.

    A checkout keeps presets in configs and sources in cuda_ext.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            folder = ROOT / "sds3d" / "_native"
        else:
            folder = Path(self.build_lib) / "sds3d" / "_native"
            for path in KERNEL_SOURCES:
                copy_into(path, folder / path.relative_to(ROOT).parent)
            for path in PRESETS:
                copy_into(path, Path(self.build_lib) / "sds3d" / "config" / "presets")
        compile_cpu_library(folder)
        compile_cuda_kernels(folder)

    def get_source_files(self) -> list[str]:
        """What a source distribution holds."""
        return [*super().get_source_files(), *(str(path.relative_to(ROOT)) for path in KERNEL_SOURCES + PRESETS)]


def copy_into(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, folder / path.name)


def compile_cpu_library(folder: Path) -> None:
    """Puts the CPU library into `folder`, or says in one line why not."""
    compiler = native.find_compiler()
    if compiler is None:
        print("sds3d: no C++ compiler found, the native CPU rasterizer is not built (torch draws instead)")
        return
    target = folder / native.library_name(SOURCES)
    remove_others(folder, "libsds3d_cpu-*.so", target)
    if not is_whole(target):
        try:
            native.compile_library(SOURCES, target, compiler)
        except OSError as error:
            print(f"sds3d: the native CPU rasterizer is not built (torch draws instead): {one_line(error)}")


def compile_cuda_kernels(folder: Path) -> None:
    """Puts a fatbin of each CUDA unit into `folder`, or says in one line why not."""
    nvcc = cuda_build.find_nvcc()
    if nvcc is None:
        print("sds3d: no nvcc found, the CUDA kernels are not built (NVRTC compiles them on first use)")
        return
    for unit in cuda_build.UNITS:
        try:
            target = folder / cuda_build.fatbin_name(SOURCES, unit)
            remove_others(folder, f"sds3d_{unit}-*.fatbin", target)
            if not is_whole(target):
                cuda_build.compile_fatbin(SOURCES, unit, target, nvcc)
        except OSError as error:
            print(f"sds3d: the CUDA kernels of {unit} are not built (NVRTC compiles them): {one_line(error)}")


def is_whole(path: Path) -> bool:
    """Whether an earlier build left all of `path`."""
    try:
        return bool(read_cached(path))
    except OSError:
        return False


def remove_others(folder: Path, pattern: str, kept: Path) -> None:
    """Removes what was built from older sources."""
    for path in folder.glob(pattern):
        if path != kept:
            path.unlink()


def one_line(error: OSError) -> str:
    return " ".join(str(error).split())


class PlatformWheel(bdist_wheel):
    """Any Python 3, but this platform: the libraries have no Python in them."""

    def get_tag(self) -> tuple[str, str, str]:
        tag = super().get_tag()
        return tag if self.root_is_pure else ("py3", "none", tag[2])


class DistributionWithNative(Distribution):
    def has_ext_modules(self) -> bool:
        return native.find_compiler() is not None or cuda_build.find_nvcc() is not None


setup(
    cmdclass={"build_py": BuildWithNative, "bdist_wheel": PlatformWheel},
    distclass=DistributionWithNative,
)
