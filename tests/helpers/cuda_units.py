"""The CUDA units with their kernels, and packages for tests of compiling and loading them."""

from pathlib import Path

import pytest
import torch

from sds3d.native import cpu as native
from sds3d.native import cuda_build

SOURCES = native.find_sources()
NVCC = cuda_build.find_nvcc()
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
# Limits of registers per thread. An SM has 65,536: with 32 it runs 2,048 threads, with 64 half as many.
REGISTERS = {
    "procedural": {"sds3d_trace_kernel": 64},
    "splat": {
        "splat_project": 64,
        "splat_scan": 64,
        "splat_scatter": 48,
        "splat_sort": 32,
        "splat_blend": 40,
        "splat_blend_normals": 48,
        "splat_blend_backward": 64,
        "splat_blend_backward_depth": 64,
        "splat_blend_backward_normals": 64,
        "splat_project_backward": 128,
        "splat_adam": 128,
    },
    "norm": {"norm_sum": 80, "norm_apply": 64, "norm_backward_sum": 80, "norm_backward": 80},
}


def copied_sources(folder, first_line=""):
    """A copy of cuda_ext with only the CUDA units; every file starts with `first_line` if given."""
    for unit in REGISTERS:
        target = folder / Path(cuda_build.UNITS[unit]).parent
        target.mkdir(parents=True)
        for name, text in cuda_build.read_sources(SOURCES, unit).items():
            (target / name).write_text(first_line + "\n" + text if first_line else text)
    return folder


def package_at(folder, monkeypatch):
    """A package without built libraries, and an empty cache."""
    sources = copied_sources(folder / "cuda_ext")
    (sources / "api.h").touch()  # identifies the folder as cuda_ext
    (folder / "sds3d" / "_native").mkdir(parents=True)
    monkeypatch.setattr(native, "PACKAGE", folder / "sds3d")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.delenv("SDS3D_CUDA_KERNELS", raising=False)
    return folder / "sds3d"
