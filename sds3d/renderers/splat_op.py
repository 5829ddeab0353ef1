"""The CUDA splatter as a torch operator: differentiable, traceable by torch.compile, capturable in CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sds3d.renderers import splat_cuda
from sds3d.renderers.constants import NEAR_PLANE
from sds3d.renderers.splat_cuda import HEADROOM, MAX_SIZE, SPARE, Drawing, View
from sds3d.renderers.splat_reference import check_shapes

_largest: dict[torch.device, int] = {}  # entries that the tile lists of a drawing have needed so far


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
    normals: bool = True,  # draw them; None comes back otherwise
    deterministic: bool = False,  # equal bit for bit for equal arguments; the way back is slower
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, dict[str, Tensor]]:
    """What `splat_reference.rasterize` returns, and info["overflow"] [] int32.

    Inside torch.compile "means2d_grad_norm" stays 0.
    While a CUDA graph is captured nothing is read back: the tile lists have room for HEADROOM times the entries of the
    longest drawing before, and "overflow" says 1 after a replay in which that was not enough (the images then lack
    splats). Otherwise it is 0. There is no gradient with respect to the cameras.
    """
    check_shapes(means, quats, scales, opacities, colors, viewmats, Ks, backgrounds, means2d_offsets)
    if means.dtype != torch.float32 or means.device.type != "cuda":
        raise ValueError(f"the CUDA rasterizer takes float32 on cuda, got {means.dtype} on {means.device}")
    if viewmats.requires_grad or Ks.requires_grad:
        raise ValueError("the CUDA rasterizer has no gradient with respect to viewmats and Ks: detach them")
    if not (0 < width <= MAX_SIZE and 0 < height <= MAX_SIZE):
        raise ValueError(f"width, height: expected 1 to {MAX_SIZE} pixels, got {width} x {height}")
    grad_norm = means.new_zeros(len(means))
    inputs = (means, quats, scales, opacities, colors, backgrounds, means2d_offsets, viewmats, Ks)
    options = (width, height, float(near_plane), normals, deterministic)
    if torch.compiler.is_compiling():
        drawn = _operator(*inputs, *options)
    else:  # the same without the operator's overhead, which is longer than a small drawing
        drawn = _Splat.apply(grad_norm, *inputs, *options)
    info = {"radii": drawn[4], "means2d_grad_norm": grad_norm, "overflow": drawn[5][1]}
    return drawn[0], drawn[1], drawn[2], drawn[3] if normals else None, info


def _capacity(device: torch.device) -> int | None:
    if not torch.cuda.is_current_stream_capturing():
        return None
    if device not in _largest:
        raise RuntimeError("rasterize: call it once before it is captured in a CUDA graph, as torch.cuda.graph asks")
    return int(HEADROOM * _largest[device]) + SPARE


def _forward(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    backgrounds: Tensor,
    means2d_offsets: Tensor | None,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float,
    normals: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # Drawing.tensors()
    splats = [x.contiguous() for x in (means, quats, scales, opacities, colors)]
    offsets = None if means2d_offsets is None else means2d_offsets.contiguous()
    view = View(
        viewmats.contiguous(), Ks.contiguous(), backgrounds.contiguous(), width, height, near_plane, offsets
    )  # fmt: skip
    capacity = _capacity(means.device)
    drawing = splat_cuda.draw(splats, view, raw=False, normals=normals, capacity=capacity)
    if capacity is None:
        _largest[means.device] = max(_largest.get(means.device, 0), len(drawing.keys))
    return drawing.tensors()


def _backward(
    inputs: list[Tensor],  # means, quats, scales, opacities, colors, backgrounds, viewmats, Ks
    means2d_offsets: Tensor | None,
    drawing: list[Tensor],
    v_colors: Tensor | None,
    v_alphas: Tensor | None,
    v_depths: Tensor | None,
    v_normals: Tensor | None,
    width: int,
    height: int,
    near_plane: float,
    deterministic: bool,
    grad_norm: Tensor,  # [N] written
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # of the parameters and offsets, [0] if there are none
    *splats, backgrounds, viewmats, Ks = (x.contiguous() for x in inputs)
    offsets = None if means2d_offsets is None else means2d_offsets.contiguous()
    view = View(viewmats, Ks, backgrounds, width, height, near_plane, offsets)
    cotangents = [None if v is None else v.contiguous() for v in (v_colors, v_alphas, v_depths, v_normals)]
    out, v_offsets = splat_cuda.gradients(
        splats, view, Drawing(*drawing), cotangents, grad_norm=grad_norm, deterministic=deterministic
    )
    return *out, grad_norm.new_empty(0) if v_offsets is None else v_offsets


def _setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
    *parameters, backgrounds, offsets, viewmats, Ks, width, height, near_plane, _, deterministic = inputs
    ctx.save_for_backward(*parameters, backgrounds, viewmats, Ks, offsets, *output)
    ctx.options = (width, height, near_plane, deterministic)
    ctx.mark_non_differentiable(*output[4:])
    ctx.set_materialize_grads(False)


def _gradients(ctx: Any, cotangents: tuple, backward: Callable[..., tuple], grad_norm: Tensor) -> list[Tensor | None]:
    """Of all inputs of `_forward`."""
    *inputs, offsets = ctx.saved_tensors[:9]
    drawing = list(ctx.saved_tensors[9:])
    *gradients, v_offsets = backward(inputs, offsets, drawing, *cotangents[:4], *ctx.options, grad_norm)
    v_backgrounds = None
    if ctx.needs_input_grad[-9] and cotangents[0] is not None:
        v_backgrounds = ((1 - drawing[1]) * cotangents[0]).sum((1, 2))
    return [*gradients, v_backgrounds, None if offsets is None else v_offsets, *[None] * 7]


class _Splat(torch.autograd.Function):
    """Outside torch.compile."""

    @staticmethod
    def forward(ctx: Any, grad_norm: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
        output = _forward(*inputs)
        _setup_context(ctx, inputs, output)
        ctx.grad_norm = grad_norm
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Any) -> tuple[Tensor | None, ...]:
        return None, *_gradients(ctx, cotangents, _backward, ctx.grad_norm)


# Inside torch.compile: an operator that it does not look into, and another for the way back.

_operator = torch.library.custom_op("sds3d::splat", _forward, mutates_args=(), device_types="cuda")
_backward_operator = torch.library.custom_op(
    "sds3d::splat_backward", _backward, mutates_args=("grad_norm",), device_types="cuda"
)


@_operator.register_fake
def _(
    means, quats, scales, opacities, colors, backgrounds, means2d_offsets, viewmats, Ks, width, height, near_plane,
    normals, deterministic,
):  # fmt: skip
    C, N = viewmats.shape[0], means.shape[0]
    columns, rows = View(viewmats, Ks, backgrounds, width, height).tiles
    images = [means.new_empty(C, height, width, channels) for channels in (3, 1, 1)]
    image_normals = means.new_empty((C, height, width, 3) if normals else 0)
    splat_normals = means.new_empty((C, N, 4) if normals else 0)
    keys = means.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)
    return (
        *images, image_normals, means.new_empty(C, N), means.new_empty(2 * C * columns * rows + 3, dtype=torch.int32),
        means.new_empty(C, N, 8), splat_normals, means.new_empty(2, C, height, width, dtype=torch.int32), keys,
    )  # fmt: skip


@_backward_operator.register_fake
def _(
    inputs, means2d_offsets, drawing, v_colors, v_alphas, v_depths, v_normals, width, height, near_plane,
    deterministic, grad_norm,
):  # fmt: skip
    offsets = inputs[0].new_empty(0) if means2d_offsets is None else torch.empty_like(means2d_offsets)
    return *(torch.empty_like(x) for x in inputs[:5]), offsets


def _operator_backward(ctx: Any, *cotangents: Any) -> tuple[Tensor | None, ...]:
    return tuple(_gradients(ctx, cotangents, _backward_operator, torch.empty_like(ctx.saved_tensors[3])))


_operator.register_autograd(_operator_backward, setup_context=_setup_context)
