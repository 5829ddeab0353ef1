"""Launches of CUDA kernels through the driver: shared memory, streams, graphs, threads and errors."""

import ctypes
import threading

import pytest
import torch

from sds3d.native import cuda as cuda_kernels
from sds3d.native import nvrtc
from sds3d.native.driver import Module
from sds3d.procedural.tracer import TraceParams
from tests.helpers.cuda_units import needs_gpu

REVERSE = """
struct Params { float* values; int count; };
extern "C" __global__ void reverse(const Params p) {
    extern __shared__ float shared[];
    for (int i = threadIdx.x; i < p.count; i += blockDim.x) shared[i] = p.values[i];
    __syncthreads();
    for (int i = threadIdx.x; i < p.count; i += blockDim.x) p.values[i] = shared[p.count - 1 - i];
}
"""


class ReverseParams(ctypes.Structure):
    _fields_ = [("values", ctypes.c_void_p), ("count", ctypes.c_int)]


@pytest.fixture
def reverse():
    """A kernel that reverses an array in the shared memory of one block."""
    major, minor = torch.cuda.get_device_capability()
    image = nvrtc.compile_sources({"reverse.cu": REVERSE}, nvrtc.target(10 * major + minor), ())
    kernel = Module(image, torch.cuda.current_device())["reverse"]

    def launch(values):
        kernel((1, 1, 1), 256, ReverseParams(values.data_ptr(), values.numel()), 4 * values.numel())

    return launch


@pytest.mark.cuda
@needs_gpu
@pytest.mark.parametrize("count", [1000, 48 * 256, 60 * 256])  # 60 KiB need an explicit limit; sm_75 has 64
def test_a_launch_sets_the_shared_memory_limit(reverse, count):
    values = torch.arange(count, device="cuda", dtype=torch.float32)
    reverse(values)
    assert torch.equal(values, torch.arange(count, device="cuda", dtype=torch.float32).flip(0))


@pytest.mark.cuda
@needs_gpu
def test_a_launch_uses_the_current_stream_and_can_be_captured(reverse):
    values = torch.arange(100, device="cuda", dtype=torch.float32)
    reverse(values)  # loads the code, which is not allowed in a capture
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
def test_another_thread_can_launch(reverse):
    values = torch.arange(100, device="cuda", dtype=torch.float32)
    torch.cuda.synchronize()
    thread = threading.Thread(target=reverse, args=(values,))
    thread.start()
    thread.join()
    assert values[0] == 99


@pytest.mark.cuda
@needs_gpu
def test_driver_errors_name_the_call_and_the_code():
    with pytest.raises(RuntimeError, match="cuModuleLoadData: .*CUDA_ERROR_INVALID"):
        Module(b"not machine code", 0)
    kernels = cuda_kernels.load("procedural", "cuda")
    with pytest.raises(RuntimeError, match=r"cuModuleGetFunction\(nothing\): .*CUDA_ERROR_NOT_FOUND"):
        kernels["nothing"]
    with pytest.raises(RuntimeError, match="launch of sds3d_trace_kernel .*CUDA_ERROR_INVALID_VALUE"):
        kernels["sds3d_trace_kernel"]((1, 1, 1), 4096, TraceParams())
