"""Renders packed signed-distance objects: the training images of the pocket prior."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from sds3d.cameras import Cameras
from sds3d.errors import UserError
from sds3d.native import cpu as native
from sds3d.native import cuda as cuda_kernels
from sds3d.native.abi import Struct, fields, pointer


def trace(parts: Tensor, cameras: Cameras, samples: int = 2, normals: bool = False) -> Tensor:
    """Premultiplied colors and coverage [B, V, H, W, 4] in [0, 1] of B objects, each from V cameras.

    With `normals`, [B, V, H, W, 7]: three more channels in [-1, 1] have the mean over a pixel's rays of the world-space
    unit normal at the hit, 0 without a hit.

    `parts` [B, MAX_PARTS, NUM_COLUMNS] float32 are results of `parts.pack`. `cameras` holds B * V square views, those
    of one object adjacent. Each pixel has `samples` squared rays.
    """
    objects = parts.shape[0]
    views = len(cameras) // objects
    camtoworlds = cameras.camtoworlds[:, :3].reshape(-1, 12)
    rows = torch.cat([camtoworlds, cameras.Ks[:, :1, 0]], 1).to(parts.device, torch.float32).contiguous()
    parts = parts.contiguous()
    out = torch.empty(objects, views, cameras.height, cameras.width, 4, device=parts.device)
    out_normals = out.new_empty(*out.shape[:-1], 3) if normals else None
    launch = _trace_cuda if parts.is_cuda else _trace_cpu
    launch(parts, rows, out, out_normals, samples)
    return out if out_normals is None else torch.cat([out, out_normals], -1)


def _trace_cpu(parts: Tensor, rows: Tensor, out: Tensor, normals: Tensor | None, samples: int) -> None:
    library = native.load_library()
    if library is None:
        raise UserError(f"rendering training objects on a CPU needs the native library: {native.status().reason}")
    pointers = [ctypes.c_void_p(pointer(x)) for x in (parts, rows, out, normals)]
    sizes = [ctypes.c_int(x) for x in (out.shape[0], out.shape[1], out.shape[2], samples, native.num_threads())]
    library.sds3d_trace(*pointers, *sizes)


class TraceParams(Struct):
    """TraceParams of cuda_ext/procedural/trace.cu."""

    _fields_ = [
        *fields(ctypes.c_void_p, "parts", "cameras", "out", "normals"),
        *fields(ctypes.c_int, "views", "resolution", "samples"),
    ]


def _trace_cuda(parts: Tensor, rows: Tensor, out: Tensor, normals: Tensor | None, samples: int) -> None:
    objects, views, resolution = out.shape[:3]
    tiles = -(-resolution // 16) * -(-resolution // 8)
    params = TraceParams(views=views, resolution=resolution, samples=samples)
    params.point(parts=parts, cameras=rows, out=out, normals=normals)
    kernel = cuda_kernels.load("procedural", parts.device)["sds3d_trace_kernel"]
    kernel((tiles, objects * views, 1), 128, params)
