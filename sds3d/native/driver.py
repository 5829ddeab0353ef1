"""Machine code on a GPU by the CUDA driver API: no toolkit, no compiler, launches that a CUDA graph can capture."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_void_p
from functools import cache

import torch

SHARED_BYTES = 48 * 1024  # of a block, static and dynamic; more must be requested (CUDA C++ Programming Guide, 20.7)
STATIC_SHARED_BYTES, MAX_DYNAMIC_SHARED_BYTES = 1, 8  # CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, ..._MAX_DYNAMIC_SHARED_...
# What a launch returns in a thread where another context than the function's is current, or none.
INVALID_CONTEXT, INVALID_HANDLE = 201, 400
_OnePointer = c_void_p * 1


class Module(dict[str, "Kernel"]):
    """Kernels by the name of their `extern "C"` function, looked up at first use.

    `image` is a cubin, a fatbin or PTX text; it stays on GPU number `device` until the process ends. RuntimeError with
    the driver's message if it refuses the image, or finds no function of that name in it.
    """

    def __init__(self, image: bytes, device: int) -> None:
        super().__init__()
        self._context = _Context(device)
        self._handle = c_void_p()
        with self._context:
            check(_driver().cuModuleLoadData(byref(self._handle), image), "cuModuleLoadData")

    def __missing__(self, name: str) -> Kernel:
        function = c_void_p()
        with self._context:
            check(
                _driver().cuModuleGetFunction(byref(function), self._handle, name.encode()),
                f"cuModuleGetFunction({name})",
            )
        kernel = self[name] = Kernel(name, function, self._context)
        return kernel


class Kernel:
    """A `__global__` function that takes one struct by value, launched on torch's current stream."""

    def __init__(self, name: str, function: c_void_p, context: _Context) -> None:
        self.name = name
        self._function = function
        self._context = context
        self._device = context.device
        static = c_int()
        with context:
            check(_driver().cuFuncGetAttribute(byref(static), STATIC_SHARED_BYTES, function), f"attributes of {name}")
        self._granted = SHARED_BYTES - static.value
        self._launch = _driver().cuLaunchKernel

    def __call__(self, grid: tuple[int, int, int], block: int, params: ctypes.Structure, shared_bytes: int = 0) -> None:
        """Queues the kernel: `grid` blocks of `block` threads, each with `shared_bytes` of dynamic shared memory.

        The driver copies `params` before this returns; its fields must be those of the kernel's struct, in their order.
        RuntimeError with the driver's message if this launch failed, or an earlier one whose error surfaces here.
        """
        if shared_bytes > self._granted:
            self._grant(shared_bytes)
        stream = c_void_p(torch.cuda.current_stream(self._device).cuda_stream)
        arguments = _OnePointer(ctypes.addressof(params))
        launch = (self._function, *grid, block, 1, 1, shared_bytes, stream, arguments, None)
        code = self._launch(*launch)
        if code in (INVALID_CONTEXT, INVALID_HANDLE):
            with self._context:
                code = self._launch(*launch)
        if code:
            check(code, f"launch of {self.name} (grid {grid}, block {block}, {shared_bytes} bytes shared)")

    def _grant(self, shared_bytes: int) -> None:
        with self._context:
            check(
                _driver().cuFuncSetAttribute(self._function, MAX_DYNAMIC_SHARED_BYTES, shared_bytes),
                f"{shared_bytes} bytes of shared memory for {self.name}",
            )
        self._granted = shared_bytes


class _Context:
    """The primary context of a GPU, which is torch's; current in a thread inside `with`."""

    def __init__(self, device: int) -> None:
        torch.cuda.init()
        self.device = device
        handle, self._handle = c_int(), c_void_p()
        check(_driver().cuDeviceGet(byref(handle), device), f"cuDeviceGet({device})")
        check(_driver().cuDevicePrimaryCtxRetain(byref(self._handle), handle), "cuDevicePrimaryCtxRetain")

    def __enter__(self) -> None:
        check(_driver().cuCtxPushCurrent_v2(self._handle), "cuCtxPushCurrent")

    def __exit__(self, *_: object) -> None:
        check(_driver().cuCtxPopCurrent_v2(byref(c_void_p())), "cuCtxPopCurrent")


def check(code: int, what: str) -> None:
    """Raises RuntimeError with the driver's message for `code`, unless it is 0."""
    if code:
        name, words = c_char_p(), c_char_p()
        _driver().cuGetErrorName(code, byref(name))
        _driver().cuGetErrorString(code, byref(words))
        text = f"{(words.value or b'unknown error').decode()} ({(name.value or str(code).encode()).decode()})"
        raise RuntimeError(f"CUDA driver, {what}: {text}")


@cache
def _driver() -> ctypes.CDLL:
    driver = ctypes.CDLL("libcuda.so.1")
    pointer = POINTER(c_void_p)
    signatures = {
        "cuDeviceGet": [POINTER(c_int), c_int],
        "cuDevicePrimaryCtxRetain": [pointer, c_int],
        "cuCtxPushCurrent_v2": [c_void_p],
        "cuCtxPopCurrent_v2": [pointer],
        "cuModuleLoadData": [pointer, c_char_p],
        "cuModuleGetFunction": [pointer, c_void_p, c_char_p],
        "cuFuncGetAttribute": [POINTER(c_int), c_int, c_void_p],
        "cuFuncSetAttribute": [c_void_p, c_int, c_int],
        "cuGetErrorName": [c_int, POINTER(c_char_p)],
        "cuGetErrorString": [c_int, POINTER(c_char_p)],
    }
    # Not cuLaunchKernel: ctypes takes 1.3 us for plain numbers and pointer objects, 2.2 us to convert them by argtypes.
    for name, arguments in signatures.items():
        getattr(driver, name).argtypes = arguments
    return driver
