"""The CUDA splatter as a torch operator: differentiable, traceable by torch.compile, capturable in CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sds3d.interfaces import Splats
from sds3d.renderers import splat_cuda
from sds3d.renderers.rasterizer import Rasterized, View, check_kernel_limits
from sds3d.renderers.splat_cuda import Cotangents, Drawing

NUM_TENSORS = 9  # of the Arguments
NUM_IMAGES = 4  # of a Drawing; the rest has no gradient

_largest: dict[torch.device, int] = {}  # largest number of tile list entries so far


class Arguments(NamedTuple):
    """The operator's arguments in the order of its schema, or one value for each of them, such as its gradient."""

    means: Any
    quats: Any
    scales: Any
    opacities: Any
    colors: Any
    backgrounds: Any
    means2d_offsets: Any
    viewmats: Any
    Ks: Any
    width: Any
    height: Any
    near_plane: Any
    antialiased: Any
    normals: Any
    deterministic: Any


def rasterize(splats: Splats, view: View, *, normals: bool = True, deterministic: bool = False) -> Rasterized:
    """Images and info of `splats`, and info["overflow"] [] int32; the deterministic backward pass is slower.

    Inside torch.compile "means2d_grad_norm" stays 0.
    While a CUDA graph is captured nothing is read back: the tile lists have the capacity `splat_cuda.roomy`
    of the longest drawing before, and "overflow" is 1 after a replay in which that was not enough (the images then
    lack splats). Otherwise it is 0. There is no gradient with respect to the cameras.
    """
    check_kernel_limits(splats, view, "CUDA", "cuda")
    grad_norm = splats.means.new_zeros(len(splats.means))
    tensors = (*splats, view.backgrounds, view.means2d_offsets, view.viewmats, view.Ks)
    options = (view.width, view.height, float(view.near_plane), view.antialiased, normals, deterministic)
    if torch.compiler.is_compiling():
        drawing = Drawing(*_operator(*tensors, *options))
    else:  # the same without the operator's overhead, which takes longer than a small drawing
        drawing = Drawing(*_Splat.apply(grad_norm, *tensors, *options))
    # Not `status`: torch.compile traces the fields of a named tuple, but no properties.
    info = {"radii": drawing.radii, "means2d_grad_norm": grad_norm, "overflow": drawing.bins[1]}
    image_normals = drawing.normals if normals else None
    return Rasterized(drawing.colors, drawing.alphas, drawing.depths, image_normals, info)


def _capacity(device: torch.device) -> int | None:
    if not torch.cuda.is_current_stream_capturing():
        return None
    if device not in _largest:
        raise RuntimeError("rasterize: call it once before it is captured in a CUDA graph, as torch.cuda.graph asks")
    return splat_cuda.roomy(_largest[device])


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
    antialiased: bool,
    normals: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The fields of a Drawing."""
    splats = Splats(*(x.contiguous() for x in (means, quats, scales, opacities, colors)))
    offsets = None if means2d_offsets is None else means2d_offsets.contiguous()
    view = View(
        viewmats.contiguous(),
        Ks.contiguous(),
        backgrounds.contiguous(),
        width,
        height,
        near_plane,
        antialiased,
        offsets,
    )
    capacity = _capacity(means.device)
    drawing = splat_cuda.rasterize(splats, view, raw=False, normals=normals, capacity=capacity)
    if capacity is None:
        _largest[means.device] = max(_largest.get(means.device, 0), len(drawing.keys))
    return tuple(drawing)  # type: ignore[return-value]  # a Drawing has ten tensors


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
    antialiased: bool,
    deterministic: bool,
    grad_norm: Tensor,  # [N] written
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the splats and of the offsets, [0] if there are none."""
    *splats, backgrounds, viewmats, Ks = (x.contiguous() for x in inputs)
    offsets = None if means2d_offsets is None else means2d_offsets.contiguous()
    view = View(viewmats, Ks, backgrounds, width, height, near_plane, antialiased, offsets)
    cotangents = (None if v is None else v.contiguous() for v in (v_colors, v_alphas, v_depths, v_normals))
    out, v_offsets = splat_cuda.gradients(
        Splats(*splats), view, Drawing(*drawing), Cotangents(*cotangents), grad_norm=grad_norm,
        deterministic=deterministic,
    )  # fmt: skip
    return *out, grad_norm.new_empty(0) if v_offsets is None else v_offsets


def _setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
    ctx.save_for_backward(*inputs[:NUM_TENSORS], *output)
    ctx.options = inputs[NUM_TENSORS:]
    ctx.mark_non_differentiable(*output[NUM_IMAGES:])
    ctx.set_materialize_grads(False)


def _gradients(
    ctx: Any, needed: Arguments, v_images: tuple, backward: Callable[..., tuple], grad_norm: Tensor
) -> Arguments:
    """Gradients of all arguments of `_forward`; `needed` marks the needed ones."""
    given = Arguments(*ctx.saved_tensors[:NUM_TENSORS], *ctx.options)
    drawing = Drawing(*ctx.saved_tensors[NUM_TENSORS:])
    *gradients, v_offsets = backward(
        [*given[: len(Splats._fields)], given.backgrounds, given.viewmats, given.Ks], given.means2d_offsets,
        list(drawing), *v_images, given.width, given.height, given.near_plane, given.antialiased, given.deterministic,
        grad_norm,
    )  # fmt: skip
    v_colors, v_backgrounds = v_images[0], None
    if needed.backgrounds and v_colors is not None:
        v_backgrounds = ((1 - drawing.alphas) * v_colors).sum((1, 2))
    v_offsets = None if given.means2d_offsets is None else v_offsets
    cameras_and_options = [None] * (len(Arguments._fields) - len(gradients) - 2)
    return Arguments._make([*gradients, v_backgrounds, v_offsets, *cameras_and_options])


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
        needed = Arguments(*ctx.needs_input_grad[1:])
        return None, *_gradients(ctx, needed, cotangents[:NUM_IMAGES], _backward, ctx.grad_norm)


# Inside torch.compile: an operator that is opaque to it, and another for the backward pass.

_operator = torch.library.custom_op("sds3d::splat", _forward, mutates_args=(), device_types="cuda")
_backward_operator = torch.library.custom_op(
    "sds3d::splat_backward", _backward, mutates_args=("grad_norm",), device_types="cuda"
)


@_operator.register_fake
def _(
    means, quats, scales, opacities, colors, backgrounds, means2d_offsets, viewmats, Ks, width, height, near_plane,
    antialiased, normals, deterministic,
):  # fmt: skip
    C, N = viewmats.shape[0], means.shape[0]
    columns, rows = splat_cuda.tile_grid(width, height)
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
    antialiased, deterministic, grad_norm,
):  # fmt: skip
    offsets = inputs[0].new_empty(0) if means2d_offsets is None else torch.empty_like(means2d_offsets)
    return *(torch.empty_like(x) for x in inputs[:5]), offsets


def _operator_backward(ctx: Any, *cotangents: Any) -> tuple[Tensor | None, ...]:
    needed = Arguments(*ctx.needs_input_grad)
    grad_norm = torch.empty_like(ctx.saved_tensors[Arguments._fields.index("opacities")])
    return tuple(_gradients(ctx, needed, cotangents[:NUM_IMAGES], _backward_operator, grad_norm))


_operator.register_autograd(_operator_backward, setup_context=_setup_context)
