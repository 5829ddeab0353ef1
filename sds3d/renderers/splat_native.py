"""Gaussian splatting on the CPU by the native library: float32, all views in one call."""

from __future__ import annotations

import weakref
from ctypes import byref, c_void_p

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sds3d.errors import UserError
from sds3d.native import cpu as native
from sds3d.renderers.constants import NEAR_PLANE
from sds3d.renderers.splat_reference import check_shapes

MAX_SIZE = 65535  # pixels; the kernels keep pixel coordinates in 16 bits


def rasterize(
    means: Tensor,  # [N, 3] world
    quats: Tensor,  # [N, 4] wxyz, of any length but 0
    scales: Tensor,  # [N, 3] world units
    opacities: Tensor,  # [N] in [0, 1]
    colors: Tensor,  # [N, 3]
    viewmats: Tensor,  # [C, 4, 4] world-to-camera, OpenCV axes
    Ks: Tensor,  # [C, 3, 3] pixels
    width: int,
    height: int,
    *,
    backgrounds: Tensor,  # [C, 3]
    near_plane: float = NEAR_PLANE,
    means2d_offsets: Tensor | None = None,  # [C, N, 2] pixels, added to the projected centres
    num_threads: int | None = None,  # default: all processors; the result does not depend on it
    use_simd: bool = True,  # AVX2 where the processor has it
) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """What `splat_reference.rasterize` returns, equal bit for bit for equal arguments on one machine.

    There is no gradient with respect to the cameras.
    """
    check_shapes(means, quats, scales, opacities, colors, viewmats, Ks, backgrounds, means2d_offsets)
    if means.dtype != torch.float32 or means.device.type != "cpu":
        raise ValueError(f"the native rasterizer takes float32 on cpu, got {means.dtype} on {means.device}")
    if viewmats.requires_grad or Ks.requires_grad:
        raise ValueError("the native rasterizer has no gradient with respect to viewmats and Ks: detach them")
    if not (0 < width <= MAX_SIZE and 0 < height <= MAX_SIZE):
        raise ValueError(f"width, height: expected 1 to {MAX_SIZE} pixels, got {width} x {height}")
    if native.load_library() is None:
        raise UserError(f"the native rasterizer is not available: {native.status().reason}")
    radii = means.new_zeros(len(viewmats), len(means))
    grad_norm = means.new_zeros(len(means))
    options = (width, height, float(near_plane), num_threads or native.num_threads(), use_simd, radii, grad_norm)
    images = _Rasterize.apply(
        options, means, quats, scales, opacities, colors, backgrounds, means2d_offsets, viewmats, Ks
    )
    return *images, {"radii": radii, "means2d_grad_norm": grad_norm}


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, options, means, quats, scales, opacities, colors, backgrounds, offsets, viewmats, Ks):
        width, height, near_plane, num_threads, use_simd, radii, grad_norm = options
        inputs = [
            None if x is None else x.detach().contiguous()
            for x in (means, quats, scales, opacities, colors, viewmats, Ks, backgrounds, offsets)
        ]
        C = len(viewmats)
        images = [means.new_empty(C, height, width, channels) for channels in (3, 1, 1, 3)]
        scene = native.Scene(len(means), C, width, height, near_plane, *map(_pointer, inputs))
        written = native.Images(*map(_pointer, (*images, radii)))
        library = native.load_library()
        state = library.sds3d_splat_forward(byref(scene), byref(written), num_threads, use_simd)
        if not state:
            raise MemoryError(f"rasterizing {len(means)} splats in {C} views of {width} x {height}")
        ctx.state = _State(state)
        ctx.num_threads = num_threads
        ctx.grad_norm = grad_norm
        ctx.near_plane = near_plane
        ctx.save_for_backward(*inputs, *images, radii)
        ctx.set_materialize_grads(False)
        return tuple(images)

    @staticmethod
    @once_differentiable
    def backward(ctx, v_colors, v_alphas, v_depths, v_normals):
        *inputs, colors, alphas, depths, normals, radii = ctx.saved_tensors
        means, quats, scales, opacities, rgb, viewmats, _Ks, _backgrounds, offsets = inputs
        C, height, width, _ = colors.shape
        cotangents = [None if v is None else v.contiguous() for v in (v_colors, v_alphas, v_depths, v_normals)]
        gradients = [torch.empty_like(x) for x in (means, quats, scales, opacities, rgb)]
        v_offsets = None if offsets is None else torch.empty_like(offsets)
        scene = native.Scene(len(means), C, width, height, ctx.near_plane, *map(_pointer, inputs))
        images = native.Images(*map(_pointer, (colors, alphas, depths, normals, radii)))
        failed = native.load_library().sds3d_splat_backward(
            ctx.state.handle,
            byref(scene),
            byref(images),
            byref(native.Cotangents(*map(_pointer, cotangents))),
            byref(native.Gradients(*map(_pointer, (*gradients, v_offsets, ctx.grad_norm)))),
            ctx.num_threads,
        )
        if failed:
            raise MemoryError(f"gradients of {len(means)} splats in {C} views of {width} x {height}")
        v_backgrounds = None
        if ctx.needs_input_grad[6] and v_colors is not None:
            v_backgrounds = ((1 - alphas) * v_colors).sum((1, 2))
        return None, *gradients, v_backgrounds, v_offsets, None, None


class _State:
    """Owns what the native forward pass leaves for the backward pass."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        weakref.finalize(self, native.load_library().sds3d_splat_free, c_void_p(handle))


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
