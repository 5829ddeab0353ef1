"""Compilation of the CUDA kernels for every architecture, with nvcc and with NVRTC."""

import ctypes
import re
import struct
import subprocess
from pathlib import Path

import pytest
import torch

from sds3d.files import read_cached
from sds3d.native import cuda_build, nvrtc
from sds3d.priors.norm_cuda import NormParams
from sds3d.procedural.tracer import TraceParams
from sds3d.renderers import splat_cuda
from tests.helpers.cuda_units import NVCC, REGISTERS, SOURCES, copied_sources

needs_nvcc = pytest.mark.skipif(NVCC is None, reason="no nvcc in $CUDA_HOME, on PATH or in /usr/local/cuda")


@needs_nvcc
@pytest.mark.parametrize("architecture", [75, 80, 90, 120])
@pytest.mark.parametrize("unit", REGISTERS)
def test_no_kernel_spills_or_exceeds_its_register_limit(unit, architecture, tmp_path):
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
def test_every_kernel_takes_one_struct_of_the_size_of_its_ctypes_struct(unit, params, tmp_path):
    run_nvcc(unit, tmp_path / "out.ptx", "-ptx")
    text = (tmp_path / "out.ptx").read_text()
    entries = dict(re.findall(r"\.entry (\w+)\(([^)]*)\)", text))
    sizes = {name: [int(x) for x in re.findall(r"\.b8 \w+\[(\d+)\]", arguments)] for name, arguments in entries.items()}
    assert sizes == {name: [ctypes.sizeof(params)] for name in REGISTERS[unit]}


@needs_nvcc
def test_fatbin_has_code_for_every_architecture_and_ptx_for_the_newest(tmp_path):
    target = tmp_path / "new" / cuda_build.fatbin_name(SOURCES, "procedural")
    cuda_build.compile_fatbin(SOURCES, "procedural", target, NVCC)
    architectures = cuda_build.architectures(NVCC)
    expected = {("code", x) for x in architectures} | {("ptx", architectures[-1])}
    assert set(fatbin_entries(read_cached(target))) == expected
    assert list(target.parent.iterdir()) == [target]


@needs_nvcc
def test_a_failed_compilation_leaves_no_file(tmp_path):
    broken = copied_sources(tmp_path / "cuda_ext", "#error on purpose")
    with pytest.raises(OSError, match="on purpose"):
        cuda_build.compile_fatbin(broken, "procedural", tmp_path / "built" / "x.fatbin", NVCC)
    assert not (tmp_path / "built").exists()


def test_a_fatbin_name_depends_on_exactly_the_sources_of_its_unit(tmp_path):
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


def test_the_sources_of_a_unit_are_its_file_and_all_included_ones():
    assert list(cuda_build.read_sources(SOURCES, "procedural")) == ["trace.cu", "trace.h"]


def test_nvcc_of_cuda_home_is_preferred(tmp_path, monkeypatch):
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
    """NVRTC, that of NVIDIA's wheel if torch has no CUDA."""
    if torch.version.cuda is None:
        found = sorted(Path(torch.__file__).parents[1].glob("nvidia/*/lib/libnvrtc.so.*"))
        if not found:
            pytest.skip("torch has no CUDA, and nvidia-cuda-nvrtc is not installed")
        monkeypatch.setattr(torch.version, "cuda", found[0].name.removeprefix("libnvrtc.so."))
    nvrtc.library.cache_clear()
    yield nvrtc
    nvrtc.library.cache_clear()


@pytest.mark.parametrize("unit", REGISTERS)
def test_nvrtc_compiles_machine_code_of_every_kernel(compiler, unit):
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


def test_a_compile_error_of_nvrtc_is_one_line(compiler):
    with pytest.raises(
        RuntimeError, match='bad.cu for sm_90: NVRTC_ERROR_COMPILATION: .*"missing" is undefined'
    ) as caught:
        compiler.compile_sources({"bad.cu": "__device__ int x = missing;"}, "sm_90", ())
    assert "\n" not in str(caught.value)


def test_torch_without_cuda_has_no_nvrtc(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    nvrtc.library.cache_clear()
    with pytest.raises(OSError, match="built without CUDA"):
        nvrtc.library()


def run_nvcc(unit, target, *options):
    """The output of nvcc while it compiles `unit`."""
    command = [NVCC, *cuda_build.COMPILE_FLAGS, *options, str(SOURCES / cuda_build.UNITS[unit]), "-o", str(target)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def fatbin_entries(data):
    """Kind and architecture of every image in a fatbin; asserts that the images fill it exactly."""
    magic, _, header, size = struct.unpack_from("<IHHQ", data)
    assert magic == 0xBA55ED50 and header + size == len(data)
    offset = header
    while offset < len(data):
        kind, _, header, size = struct.unpack_from("<HHIQ", data, offset)
        yield {1: "ptx", 2: "code"}[kind], struct.unpack_from("<I", data, offset + 28)[0]
        offset += header + size
    assert offset == len(data)
