"""Which device a run uses."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import TYPE_CHECKING

from sds3d.errors import UserError

if TYPE_CHECKING:
    import torch

    from sds3d.config.schema import Device


def resolve_device(name: Device) -> torch.device:
    """The torch device of a config's `device`; auto means CUDA where there is one."""
    import torch

    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        why = "this torch was built without CUDA" if torch.version.cuda is None else "torch finds no usable GPU"
        raise UserError(f"device=cuda: {why}; use device=cpu, or see `sds3d doctor`")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def begin_context(name: Device) -> None:
    """Starts making the primary context of the first GPU in a thread, so that it exists when torch is imported.

    Torch uses the context that the process has (CUDA Driver API, Primary Context Management). Where it cannot be made,
    torch reports why at its first use.
    """
    if name != "cpu":
        os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")  # as torch does, but before the driver reads it
        threading.Thread(target=_make_context, name="cuda context", daemon=True).start()


def _make_context() -> None:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return
    device, context = ctypes.c_int(), ctypes.c_void_p()
    if driver.cuInit(0) == 0 and driver.cuDeviceGet(ctypes.byref(device), 0) == 0:
        driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
