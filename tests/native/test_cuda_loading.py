"""How CUDA kernels are obtained: prebuilt, from the cache or compiled now."""

import pytest
import torch

from sds3d.cameras import turntable
from sds3d.errors import UserError
from sds3d.files import read_cached, write_cached
from sds3d.native import cuda as cuda_kernels
from sds3d.native import cuda_build, nvrtc
from sds3d.procedural.parts import Part, pack
from sds3d.procedural.tracer import trace
from tests.helpers.cuda_units import NVCC, REGISTERS, SOURCES, needs_gpu, package_at


class TestChoice:
    """The order of prebuilt, cached and compiled, with a driver that rejects images starting with `broken`."""

    @pytest.fixture(autouse=True)
    def machine(self, tmp_path, monkeypatch):
        def accept(image, device):
            if image.startswith(b"broken"):
                raise RuntimeError("no kernel image is available")
            return {"image": image}

        self.package = package_at(tmp_path, monkeypatch)
        self.prebuilt = self.package / "_native" / cuda_build.fatbin_name(SOURCES, "procedural")
        monkeypatch.setattr(cuda_kernels, "Module", accept)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
        monkeypatch.setattr(nvrtc, "target", lambda capability: f"sm_{capability}")
        monkeypatch.setattr(nvrtc, "compile_sources", lambda sources, architecture, flags: b"compiled")
        self.clear = cuda_kernels._load.cache_clear
        self.clear()
        yield
        self.clear()

    def get(self):
        self.clear()
        return cuda_kernels.load("procedural", "cuda:0")["image"], cuda_kernels.status("procedural", 0)

    def test_prebuilt_comes_before_cached_before_compiled(self):
        image, found = self.get()
        assert (image, found.how) == (b"compiled", "compiled")
        assert "compiled now by NVRTC for sm_90 in" in found.reason and found.compile_seconds > 0
        assert "not prebuilt: the package holds no" in found.reason and "not cached: no" in found.reason
        image, found = self.get()
        assert (image, found.how, found.compile_seconds) == (b"compiled", "cached", 0)
        assert read_cached(found.path) == b"compiled" and "not prebuilt" in found.reason
        write_cached(self.prebuilt, b"built")
        image, found = self.get()
        assert (image, found.how, found.path) == (b"built", "prebuilt", self.prebuilt)

    def test_images_that_the_driver_rejects_are_skipped_and_reported(self):
        write_cached(self.prebuilt, b"broken")
        _, found = self.get()
        write_cached(found.path, b"broken by another compiler")
        image, found = self.get()
        assert (image, found.how) == (b"compiled", "compiled")
        assert "not prebuilt: no kernel image is available" in found.reason
        assert "not cached: no kernel image is available" in found.reason
        assert self.get()[1].how == "cached"

    @pytest.mark.parametrize("kept", [0, 4, -1], ids=["empty", "truncated", "without its last byte"])
    def test_truncated_files_never_reach_the_driver(self, kept):
        write_cached(self.prebuilt, b"built")
        self.prebuilt.write_bytes(self.prebuilt.read_bytes()[:kept])
        _, found = self.get()
        assert found.how == "compiled"
        found.path.write_bytes(found.path.read_bytes()[:kept])
        image, found = self.get()
        assert (image, found.how) == (b"compiled", "compiled")
        assert found.reason.count("is damaged") == 2
        assert self.get()[1].how == "cached"

    def test_the_environment_variable_selects_one_way(self, monkeypatch):
        write_cached(self.prebuilt, b"built")
        monkeypatch.setenv("SDS3D_CUDA_KERNELS", "nvrtc")
        assert self.get()[0] == b"compiled"
        monkeypatch.setenv("SDS3D_CUDA_KERNELS", "prebuilt")
        assert self.get()[0] == b"built"
        self.prebuilt.unlink()
        with pytest.raises(UserError, match="procedural cannot be loaded .not prebuilt: the package holds no"):
            self.get()
        assert cuda_kernels.status("procedural", 0).how == "missing"
        monkeypatch.setenv("SDS3D_CUDA_KERNELS", "gpu")
        with pytest.raises(UserError, match="SDS3D_CUDA_KERNELS: expected prebuilt or nvrtc, got 'gpu'"):
            self.get()

    def test_without_a_writable_cache_kernels_are_compiled_on_every_run(self, tmp_path, monkeypatch):
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        for _ in range(2):
            image, found = self.get()
            assert (image, found.how, found.path) == (b"compiled", "compiled", None)
            assert "as on every run" in found.reason

    def test_changed_sources_are_compiled_to_another_file(self):
        first = self.get()[1].path
        header = self.package.parent / "cuda_ext" / "procedural" / "trace.h"
        header.write_text(header.read_text() + "\n")
        image, found = self.get()
        assert found.how == "compiled" and found.path != first


@pytest.fixture
def empty_package(tmp_path, monkeypatch):
    """A package without built libraries, and an empty cache."""
    package = package_at(tmp_path, monkeypatch)
    cuda_kernels._load.cache_clear()
    yield package
    cuda_kernels._load.cache_clear()


def scene(device):
    parts = [
        Part("ellipsoid", (0, 0, 0.2), (0.5, 0.4, 0.3), (1, 0, 0), pattern="dots"),
        Part("box", (0.3, 0, -0.3), (0.2, 0.2, 0.2), (0, 0, 1)),
    ]
    return trace(torch.from_numpy(pack(parts))[None].to(device), turntable(4, 64, elevation_deg=20.0), samples=2)


@pytest.fixture(scope="module")
def traced_on_cpu():
    return scene("cpu")  # before a test hides the libraries


@pytest.mark.cuda
@needs_gpu
def test_compiled_cached_and_prebuilt_kernels_trace_equal_images(traced_on_cpu, empty_package, monkeypatch):
    monkeypatch.setenv("SDS3D_CUDA_KERNELS", "nvrtc")
    traced = {}
    for how in ("compiled", "cached"):
        cuda_kernels._load.cache_clear()
        traced[how] = scene("cuda")
        assert cuda_kernels.status("procedural", "cuda").how == how
    assert torch.equal(traced["compiled"], traced["cached"])
    assert traced["cached"][..., 3].mean() > 0.1
    # Another compiler rounds differently, which can move a ray across an edge.
    assert (traced_on_cpu - traced["cached"].cpu()).abs().mean() < 1e-3
    if NVCC is None:
        pytest.skip("no nvcc: compiled and cached are equal, prebuilt is not tested")
    monkeypatch.setenv("SDS3D_CUDA_KERNELS", "prebuilt")
    for unit in REGISTERS:
        target = cuda_build.fatbin_name(SOURCES, unit)
        cuda_build.compile_fatbin(SOURCES, unit, empty_package / "_native" / target, NVCC)
    cuda_kernels._load.cache_clear()
    prebuilt = scene("cuda")
    for unit, names in REGISTERS.items():
        assert cuda_kernels.status(unit, "cuda").how == "prebuilt"
        assert all(cuda_kernels.load(unit, "cuda")[name].name == name for name in names)
    assert (prebuilt - traced["cached"]).abs().mean() < 1e-3


@pytest.mark.cuda
@needs_gpu
@pytest.mark.parametrize("unit", REGISTERS)
def test_the_first_use_compiles_within_five_seconds(empty_package, unit):
    found = cuda_kernels.status(unit, "cuda")
    assert found.how == "compiled", found
    assert found.compile_seconds <= 5
    kernels = cuda_kernels.load(unit, "cuda")
    assert {name: kernels[name].name for name in REGISTERS[unit]} == {name: name for name in REGISTERS[unit]}
