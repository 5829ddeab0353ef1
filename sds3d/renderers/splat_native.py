"""Gaussian splatting on the CPU by the native library: float32, all views in one call."""

from __future__ import annotations

import weakref
from ctypes import byref, c_void_p
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sds3d.errors import UserError
from sds3d.interfaces import Splats
from sds3d.native import abi
from sds3d.native import cpu as native
from sds3d.renderers.rasterizer import Rasterized, View, check_kernel_limits


def rasterize(
    splats: Splats,
    view: View,
    *,
    normals: bool = True,
    deterministic: bool = True,
    num_threads: int | None = None,  # default: all processors; the result does not depend on it
    use_simd: bool = True,  # AVX2 where the processor has it
) -> Rasterized:
    """Images and info of `splats`, equal bit for bit for equal arguments on one machine, `deterministic` or not.

    There is no gradient with respect to the cameras.
    """
    check_kernel_limits(splats, view, "native", "cpu")
    if native.load_library() is None:
        raise UserError(f"the native rasterizer is not available: {native.status().reason}")
    radii = splats.means.new_zeros(len(view.viewmats), len(splats.means))
    grad_norm = splats.means.new_zeros(len(splats.means))
    options = _Options(normals, num_threads or native.num_threads(), use_simd, radii, grad_norm)
    leaves = (*splats, view.backgrounds, view.means2d_offsets)
    colors, alphas, depths, image_normals = _Rasterize.apply(options, view, *leaves)
    return Rasterized(colors, alphas, depths, image_normals, {"radii": radii, "means2d_grad_norm": grad_norm})


class _Options(NamedTuple):
    normals: bool
    num_threads: int
    use_simd: bool
    radii: Tensor  # written by the forward pass
    grad_norm: Tensor  # written by the backward pass


class _Inputs(NamedTuple):
    """What the library reads, named as in sds3d_splat_scene; detached and contiguous."""

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    viewmats: Tensor
    Ks: Tensor
    backgrounds: Tensor
    means2d_offsets: Tensor | None


class _Images(NamedTuple):
    """The images, or their cotangents; None instead of normals that are not computed."""

    colors: Tensor | None
    alphas: Tensor | None
    depths: Tensor | None
    normals: Tensor | None


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, options: _Options, view: View, *leaves: Tensor | None) -> tuple[Tensor | None, ...]:
        """Images; the `leaves`, which may need gradients, are the splats, the backgrounds and the offsets."""
        *splats, backgrounds, offsets = leaves
        tensors = (*splats, view.viewmats, view.Ks, backgrounds, offsets)
        inputs = _Inputs._make(None if x is None else x.detach().contiguous() for x in tensors)
        means, C, width, height = inputs.means, len(view.viewmats), view.width, view.height
        colors, alphas, depths = (means.new_empty(C, height, width, channels) for channels in (3, 1, 1))
        images = _Images(colors, alphas, depths, torch.empty_like(colors) if options.normals else None)
        scene = abi.Scene(len(means), C, width, height, float(view.near_plane), view.antialiased)
        scene.point(**inputs._asdict())
        written = abi.Images()
        written.point(**images._asdict(), radii=options.radii)
        library = native.load_library()
        assert library is not None  # rasterize has asked
        state = library.sds3d_splat_forward(byref(scene), byref(written), options.num_threads, options.use_simd)
        if not state:
            raise MemoryError(f"rasterizing {len(means)} splats in {C} views of {width} x {height}")
        ctx.state = _State(state)
        ctx.num_threads, ctx.grad_norm = options.num_threads, options.grad_norm
        ctx.near_plane, ctx.antialiased = float(view.near_plane), view.antialiased
        ctx.save_for_backward(*inputs, *images, options.radii)
        ctx.set_materialize_grads(False)
        return tuple(images)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *v_images: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of `options` and `view`, which have none, and of the leaves."""
        *tensors, colors, alphas, depths, normals, radii = ctx.saved_tensors
        inputs, library = _Inputs(*tensors), native.load_library()
        assert library is not None
        C, height, width, _ = colors.shape
        gradients = Splats(*(torch.empty_like(x) for x in tensors[: len(Splats._fields)]))
        v_offsets = None if inputs.means2d_offsets is None else torch.empty_like(inputs.means2d_offsets)
        scene = abi.Scene(len(inputs.means), C, width, height, ctx.near_plane, ctx.antialiased)
        scene.point(**inputs._asdict())
        images = abi.Images()
        images.point(colors=colors, alphas=alphas, depths=depths, normals=normals, radii=radii)
        contiguous = _Images(*(None if v is None else v.contiguous() for v in v_images))
        cotangents = abi.Cotangents()
        cotangents.point(**contiguous._asdict())
        written = abi.Gradients()
        written.point(**gradients._asdict(), means2d=v_offsets, means2d_grad_norm=ctx.grad_norm)
        failed = library.sds3d_splat_backward(
            ctx.state.handle, byref(scene), byref(images), byref(cotangents), byref(written), ctx.num_threads
        )
        if failed:
            raise MemoryError(f"gradients of {len(inputs.means)} splats in {C} views of {width} x {height}")
        v_backgrounds = None
        *_, needs_backgrounds, _ = ctx.needs_input_grad
        if needs_backgrounds and v_images[0] is not None:
            v_backgrounds = ((1 - alphas) * v_images[0]).sum((1, 2))
        return None, None, *gradients, v_backgrounds, v_offsets


class _State:
    """Owns the memory that the native forward pass leaves for the backward pass."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        library = native.load_library()
        assert library is not None  # it made the state
        weakref.finalize(self, library.sds3d_splat_free, c_void_p(handle))
