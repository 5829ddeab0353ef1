"""Builds the native CPU library into the package where a C++ compiler is found; the rest is in pyproject.toml."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
KERNEL_SOURCES = sorted(path for path in ROOT.glob("cuda_ext/**/*") if path.is_file())


def load_native():
    """sds3d/native.py by itself: the package may not be importable while it is being built."""
    spec = importlib.util.spec_from_file_location("sds3d_native_for_build", ROOT / "sds3d" / "native.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class BuildWithNative(build_py):
    """Adds the native library and its sources to the built package; a checkout keeps its sources in cuda_ext."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            folder = ROOT / "sds3d" / "_native"
        else:
            folder = Path(self.build_lib) / "sds3d" / "_native"
            for path in KERNEL_SOURCES:
                target = folder / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        self.compile_into(folder)

    def get_source_files(self) -> list[str]:
        """What a source distribution holds."""
        return [*super().get_source_files(), *(str(path.relative_to(ROOT)) for path in KERNEL_SOURCES)]

    def compile_into(self, folder: Path) -> None:
        native = load_native()
        sources = ROOT / "cuda_ext"
        compiler = native.find_compiler()
        if compiler is None:
            print("sds3d: no C++ compiler found, the native CPU rasterizer is not built (torch draws instead)")
            return
        name = native.library_name(sources)
        for old in folder.glob("libsds3d_cpu-*.so"):
            if old.name != name:
                old.unlink()
        if (folder / name).is_file():
            return
        try:
            native.compile_library(sources, folder / name, compiler)
        except OSError as error:
            print(f"sds3d: the native CPU rasterizer is not built (torch draws instead): {error}")


class PlatformWheel(bdist_wheel):
    """Any Python 3, but this platform: the library has no Python in it."""

    def get_tag(self) -> tuple[str, str, str]:
        tag = super().get_tag()
        return tag if self.root_is_pure else ("py3", "none", tag[2])


class DistributionWithNative(Distribution):
    def has_ext_modules(self) -> bool:
        return load_native().find_compiler() is not None


setup(
    cmdclass={"build_py": BuildWithNative, "bdist_wheel": PlatformWheel},
    distclass=DistributionWithNative,
)
