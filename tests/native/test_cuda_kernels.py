"""The CUDA kernels: that they compile well for every architecture, and each way of getting them on a GPU."""

import ctypes
import re
import struct
import subprocess
import threading
from pathlib import Path

import pytest
import torch

from sds3d.cameras import turntable
from sds3d.errors import UserError
from sds3d.files import read_cached, write_cached
from sds3d.native import cpu as native
from sds3d.native import cuda as cuda_kernels
from sds3d.native import cuda_build, nvrtc
from sds3d.native.driver import Module
from sds3d.priors.norm_cuda import NormParams
from sds3d.procedural.parts import Part, pack
from sds3d.procedural.tracer import TraceParams, trace
from sds3d.renderers import splat_cuda

SOURCES = native.find_sources()
NVCC = cuda_build.find_nvcc()
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="no nvcc in $CUDA_HOME, on PATH or in /usr/local/cuda")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
# Registers a thread may use. An SM has 65,536: 32 let it hold 2,048 threads, 64 half of them, 128 a quarter.
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


@needs_nvcc
@pytest.mark.parametrize("architecture", [75, 80, 90, 120])
@pytest.mark.parametrize("unit", REGISTERS)
def test_every_kernel_stays_in_its_registers(unit, architecture, tmp_path):
    if architecture not in cuda_build.architectures(NVCC):
        pytest.skip(f"{NVCC} does not compile for sm_{architecture}")
    code = f"-gencode=arch=compute_{architecture},code=sm_{architecture}"
    report = run_nvcc(unit, tmp_path / "out.cubin", "-cubin", code, "-Xptxas", "-v")
    spilled = [int(x) for x in re.findall(r"(\d+) bytes spill (?:stores|loads)", report)]
    used, name = {}, None
    for line in report.splitlines():
        if entry := re.search(r"Compiling entry function '(\w+)'", line):
            name = entry[1]
        elif count := re.search(r"Used (\d+) registers", line):
            used[name] = int(count[1])
    assert used.keys() == REGISTERS[unit].keys()
    assert len(spilled) >= 2 * len(used) and not any(spilled)
    assert {name: count for name, count in used.items() if count > REGISTERS[unit][name]} == {}


@needs_nvcc
@pytest.mark.parametrize(
    ("unit", "params"), [("procedural", TraceParams), ("splat", splat_cuda.Params), ("norm", NormParams)]
)
def test_every_kernel_takes_the_struct_that_python_fills(unit, params, tmp_path):
    """One argument of the same size: what ctypes lays out is what the kernel reads."""
    run_nvcc(unit, tmp_path / "out.ptx", "-ptx")
    text = (tmp_path / "out.ptx").read_text()
    entries = dict(re.findall(r"\.entry (\w+)\(([^)]*)\)", text))
    sizes = {name: [int(x) for x in re.findall(r"\.b8 \w+\[(\d+)\]", arguments)] for name, arguments in entries.items()}
    assert sizes == {name: [ctypes.sizeof(params)] for name in REGISTERS[unit]}


@needs_nvcc
def test_fatbin_holds_code_for_every_architecture_and_ptx_for_the_newest(tmp_path):
    target = tmp_path / "new" / cuda_build.fatbin_name(SOURCES, "procedural")
    cuda_build.compile_fatbin(SOURCES, "procedural", target, NVCC)
    architectures = cuda_build.architectures(NVCC)
    expected = {("code", x) for x in architectures} | {("ptx", architectures[-1])}
    assert set(fatbin_entries(read_cached(target))) == expected
    assert list(target.parent.iterdir()) == [target]


@needs_nvcc
def test_a_fatbin_that_fails_leaves_nothing(tmp_path):
    broken = copied_sources(tmp_path / "cuda_ext", "#error on purpose")
    with pytest.raises(OSError, match="on purpose"):
        cuda_build.compile_fatbin(broken, "procedural", tmp_path / "built" / "x.fatbin", NVCC)
    assert not (tmp_path / "built").exists()


def test_name_follows_exactly_the_sources_of_the_unit(tmp_path):
    folder = copied_sources(tmp_path)
    names = [cuda_build.fatbin_name(SOURCES, "procedural"), cuda_build.fatbin_name(folder, "procedural")]
    (folder / "procedural" / "unused.h").write_text("not included\n")
    names.append(cuda_build.fatbin_name(folder, "procedural"))
    assert len(set(names)) == 1
    for part in cuda_build.read_sources(SOURCES, "procedural"):
        with (folder / "procedural" / part).open("a") as file:
            file.write("\n")
        names.append(cuda_build.fatbin_name(folder, "procedural"))
    assert len(set(names)) == 3
    (folder / "procedural" / "trace.h").unlink()
    with pytest.raises(FileNotFoundError, match=r"trace\.h"):
        cuda_build.fatbin_name(folder, "procedural")


def test_sources_are_the_unit_and_what_it_includes():
    assert list(cuda_build.read_sources(SOURCES, "procedural")) == ["trace.cu", "trace.h"]


def test_nvcc_of_cuda_home_comes_first(tmp_path, monkeypatch):
    for home in ("one", "two"):
        (tmp_path / home / "bin").mkdir(parents=True)
        (tmp_path / home / "bin" / "nvcc").write_text("#!/bin/sh\n")
        (tmp_path / home / "bin" / "nvcc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "one" / "bin"))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "two"))
    assert cuda_build.find_nvcc() == str(tmp_path / "two" / "bin" / "nvcc")
    monkeypatch.delenv("CUDA_HOME")
    assert cuda_build.find_nvcc() == str(tmp_path / "one" / "bin" / "nvcc")


@pytest.fixture
def compiler(monkeypatch):
    """NVRTC, of NVIDIA's wheel if torch has no CUDA."""
    if torch.version.cuda is None:
        found = sorted(Path(torch.__file__).parents[1].glob("nvidia/*/lib/libnvrtc.so.*"))
        if not found:
            pytest.skip("torch has no CUDA, and nvidia-cuda-nvrtc is not installed")
        monkeypatch.setattr(torch.version, "cuda", found[0].name.removeprefix("libnvrtc.so."))
    nvrtc.library.cache_clear()
    yield nvrtc
    nvrtc.library.cache_clear()


@pytest.mark.parametrize("unit", REGISTERS)
def test_nvrtc_compiles_machine_code_with_every_kernel(compiler, unit):
    sources = cuda_build.read_sources(SOURCES, unit)
    image = compiler.compile_sources(sources, "sm_90", cuda_build.COMPILE_FLAGS)
    assert image.startswith(b"\x7fELF")
    assert all(f".text.{name}\0".encode() in image for name in REGISTERS[unit])


def test_nvrtc_compiles_ptx_for_a_device_newer_than_itself(compiler):
    assert compiler.target(90) == "sm_90"
    architecture = compiler.target(999)
    assert re.fullmatch(r"compute_\d+", architecture)
    sources = cuda_build.read_sources(SOURCES, "procedural")
    ptx = compiler.compile_sources(sources, architecture, cuda_build.COMPILE_FLAGS)
    assert architecture.replace("compute_", ".target sm_").encode() in ptx
    assert b".entry sds3d_trace_kernel(" in ptx
    with pytest.raises(RuntimeError, match="NVRTC compiles for sm_.* and newer, the device is sm_10"):
        compiler.target(10)


def test_nvrtc_says_in_one_line_what_is_wrong(compiler):
    with pytest.raises(
        RuntimeError, match='bad.cu for sm_90: NVRTC_ERROR_COMPILATION: .*"missing" is undefined'
    ) as told:
        compiler.compile_sources({"bad.cu": "__device__ int x = missing;"}, "sm_90", ())
    assert "\n" not in str(told.value)


def test_without_cuda_in_torch_there_is_no_nvrtc(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    nvrtc.library.cache_clear()
    with pytest.raises(OSError, match="built without CUDA"):
        nvrtc.library()


class TestChoice:
    """Which way is taken, on a machine whose driver takes every image that does not begin with `broken`."""

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
        self.forget = cuda_kernels._load.cache_clear
        self.forget()
        yield
        self.forget()

    def get(self):
        self.forget()
        return cuda_kernels.load("procedural", "cuda:0")["image"], cuda_kernels.status("procedural", 0)

    def test_prebuilt_then_cached_then_compiled(self):
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

    def test_what_the_driver_refuses_is_passed_over_and_said(self):
        write_cached(self.prebuilt, b"broken")
        _, found = self.get()
        write_cached(found.path, b"broken by another compiler")
        image, found = self.get()
        assert (image, found.how) == (b"compiled", "compiled")
        assert "not prebuilt: no kernel image is available" in found.reason
        assert "not cached: no kernel image is available" in found.reason
        assert self.get()[1].how == "cached"

    @pytest.mark.parametrize("kept", [0, 4, -1], ids=["empty", "cut short", "without its last byte"])
    def test_what_was_cut_short_never_reaches_the_driver(self, kept):
        write_cached(self.prebuilt, b"built")
        self.prebuilt.write_bytes(self.prebuilt.read_bytes()[:kept])
        _, found = self.get()
        assert found.how == "compiled"
        found.path.write_bytes(found.path.read_bytes()[:kept])
        image, found = self.get()
        assert (image, found.how) == (b"compiled", "compiled")
        assert found.reason.count("is damaged") == 2
        assert self.get()[1].how == "cached"

    def test_one_way_alone(self, monkeypatch):
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

    def test_a_cache_that_cannot_be_written_costs_only_time(self, tmp_path, monkeypatch):
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        for _ in range(2):
            image, found = self.get()
            assert (image, found.how, found.path) == (b"compiled", "compiled", None)
            assert "as on every run" in found.reason

    def test_other_sources_are_other_files(self):
        first = self.get()[1].path
        header = self.package.parent / "cuda_ext" / "procedural" / "trace.h"
        header.write_text(header.read_text() + "\n")
        image, found = self.get()
        assert found.how == "compiled" and found.path != first


@pytest.fixture
def empty_package(tmp_path, monkeypatch):
    """The package with nothing built and nothing cached."""
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
def drawn_on_cpu():
    return scene("cpu")  # before a test takes the libraries away


@pytest.mark.cuda
@needs_gpu
def test_every_way_draws_the_same(drawn_on_cpu, empty_package, monkeypatch):
    monkeypatch.setenv("SDS3D_CUDA_KERNELS", "nvrtc")
    drawn = {}
    for how in ("compiled", "cached"):
        cuda_kernels._load.cache_clear()
        drawn[how] = scene("cuda")
        assert cuda_kernels.status("procedural", "cuda").how == how
    assert torch.equal(drawn["compiled"], drawn["cached"])
    assert drawn["cached"][..., 3].mean() > 0.1
    # Another compiler rounds otherwise, which may move a ray over an edge.
    assert (drawn_on_cpu - drawn["cached"].cpu()).abs().mean() < 1e-3
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
    assert (prebuilt - drawn["cached"]).abs().mean() < 1e-3


@pytest.mark.cuda
@needs_gpu
@pytest.mark.parametrize("unit", REGISTERS)
def test_first_use_compiles_in_five_seconds(empty_package, unit):
    found = cuda_kernels.status(unit, "cuda")
    assert found.how == "compiled", found
    assert found.compile_seconds <= 5
    kernels = cuda_kernels.load(unit, "cuda")
    assert {name: kernels[name].name for name in REGISTERS[unit]} == {name: name for name in REGISTERS[unit]}


REVERSE = """
struct Params { float* values; int count; };
extern "C" __global__ void reverse(const Params p) {
    extern __shared__ float held[];
    for (int i = threadIdx.x; i < p.count; i += blockDim.x) held[i] = p.values[i];
    __syncthreads();
    for (int i = threadIdx.x; i < p.count; i += blockDim.x) p.values[i] = held[p.count - 1 - i];
}
"""


class ReverseParams(ctypes.Structure):
    _fields_ = [("values", ctypes.c_void_p), ("count", ctypes.c_int)]


@pytest.fixture
def reverse():
    """A kernel that turns an array round within the shared memory of one block."""
    major, minor = torch.cuda.get_device_capability()
    image = nvrtc.compile_sources({"reverse.cu": REVERSE}, nvrtc.target(10 * major + minor), ())
    kernel = Module(image, torch.cuda.current_device())["reverse"]

    def launch(values):
        kernel((1, 1, 1), 256, ReverseParams(values.data_ptr(), values.numel()), 4 * values.numel())

    return launch


@pytest.mark.cuda
@needs_gpu
@pytest.mark.parametrize("count", [1000, 48 * 256, 60 * 256])  # 60 KiB: more than a block has unasked, sm_75 has 64
def test_a_kernel_gets_the_shared_memory_that_it_asks_for(reverse, count):
    values = torch.arange(count, device="cuda", dtype=torch.float32)
    reverse(values)
    assert torch.equal(values, torch.arange(count, device="cuda", dtype=torch.float32).flip(0))


@pytest.mark.cuda
@needs_gpu
def test_a_launch_can_be_captured_and_follows_the_current_stream(reverse):
    values = torch.arange(100, device="cuda", dtype=torch.float32)
    reverse(values)  # loads the code, which a capture forbids
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        reverse(values)
        values += 1
    assert values[0] == 99  # captured, not run
    graph.replay()
    assert torch.equal(values, torch.arange(1, 101, device="cuda", dtype=torch.float32))


@pytest.mark.cuda
@needs_gpu
def test_a_thread_of_its_own_can_launch(reverse):
    values = torch.arange(100, device="cuda", dtype=torch.float32)
    torch.cuda.synchronize()
    thread = threading.Thread(target=reverse, args=(values,))
    thread.start()
    thread.join()
    assert values[0] == 99


@pytest.mark.cuda
@needs_gpu
def test_the_driver_says_what_it_refuses(empty_package):
    with pytest.raises(RuntimeError, match="cuModuleLoadData: .*CUDA_ERROR_INVALID"):
        Module(b"not machine code", 0)
    kernels = cuda_kernels.load("procedural", "cuda")
    with pytest.raises(RuntimeError, match=r"cuModuleGetFunction\(nothing\): .*CUDA_ERROR_NOT_FOUND"):
        kernels["nothing"]
    with pytest.raises(RuntimeError, match="launch of sds3d_trace_kernel .*CUDA_ERROR_INVALID_VALUE"):
        kernels["sds3d_trace_kernel"]((1, 1, 1), 4096, TraceParams())


def run_nvcc(unit, target, *options):
    """What nvcc prints while it compiles `unit`."""
    command = [NVCC, *cuda_build.COMPILE_FLAGS, *options, str(SOURCES / cuda_build.UNITS[unit]), "-o", str(target)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def fatbin_entries(data):
    """Kind and architecture of every image in a fatbin, whose bytes they must fill to the end."""
    magic, _, header, size = struct.unpack_from("<IHHQ", data)
    assert magic == 0xBA55ED50 and header + size == len(data)
    offset = header
    while offset < len(data):
        kind, _, header, size = struct.unpack_from("<HHIQ", data, offset)
        yield {1: "ptx", 2: "code"}[kind], struct.unpack_from("<I", data, offset + 28)[0]
        offset += header + size
    assert offset == len(data)


def copied_sources(folder, first_line=""):
    """A cuda_ext with nothing but the CUDA units in it."""
    for unit in REGISTERS:
        target = folder / Path(cuda_build.UNITS[unit]).parent
        target.mkdir(parents=True)
        for name, text in cuda_build.read_sources(SOURCES, unit).items():
            (target / name).write_text(first_line + "\n" + text if first_line else text)
    return folder


def package_at(folder, monkeypatch):
    """A package where nothing is built, and a cache where nothing is kept."""
    sources = copied_sources(folder / "cuda_ext")
    (sources / "api.h").touch()  # by which a folder is known as cuda_ext
    (folder / "sds3d" / "_native").mkdir(parents=True)
    monkeypatch.setattr(native, "PACKAGE", folder / "sds3d")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.delenv("SDS3D_CUDA_KERNELS", raising=False)
    return folder / "sds3d"
