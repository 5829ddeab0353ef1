"""The CUDA splatter as a torch operator: differentiable, traceable by torch.compile, capturable in CUDA graphs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

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
    probe = means.new_zeros(len(means))
    info = {"means2d_grad_norm": torch.zeros_like(probe)}
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        probe.requires_grad_().register_hook(info["means2d_grad_norm"].copy_)
    drawn = _draw(
        means, quats, scales, opacities, colors, backgrounds, means2d_offsets, probe, viewmats, Ks, width, height,
        float(near_plane), normals, deterministic,
    )  # fmt: skip
    info |= {"radii": drawn[4], "overflow": drawn[5][1]}
    return drawn[0], drawn[1], drawn[2], drawn[3] if normals else None, info


def _view(backgrounds: Tensor, offsets: Tensor | None, viewmats: Tensor, Ks: Tensor, *rest: Any) -> View:
    width, height, near_plane = rest
    return View(viewmats, Ks, backgrounds, width, height, near_plane, offsets)


def _capacity(device: torch.device) -> int | None:
    if not torch.cuda.is_current_stream_capturing():
        return None
    if device not in _largest:
        raise RuntimeError("rasterize: call it once before it is captured in a CUDA graph, as torch.cuda.graph asks")
    return int(HEADROOM * _largest[device]) + SPARE


@torch.library.custom_op("sds3d::splat", mutates_args=(), device_types="cuda")
def _draw(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    backgrounds: Tensor,
    means2d_offsets: Tensor | None,
    probe: Tensor,  # [N] its gradient is means2d_grad_norm
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float,
    normals: bool,
    deterministic: bool,
) -> tuple[
    Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor
]:  # Drawing.tensors()
    splats = [x.contiguous() for x in (means, quats, scales, opacities, colors)]
    offsets = None if means2d_offsets is None else means2d_offsets.contiguous()
    view = _view(backgrounds.contiguous(), offsets, viewmats.contiguous(), Ks.contiguous(), width, height, near_plane)
    capacity = _capacity(means.device)
    drawing = splat_cuda.draw(splats, view, raw=False, normals=normals, capacity=capacity)
    if capacity is None:
        _largest[means.device] = max(_largest.get(means.device, 0), len(drawing.keys))
    return drawing.tensors()


@_draw.register_fake
def _(
    means, quats, scales, opacities, colors, backgrounds, means2d_offsets, probe, viewmats, Ks, width, height,
    near_plane, normals, deterministic,
):  # fmt: skip
    C, N = viewmats.shape[0], means.shape[0]
    columns, rows = View(viewmats, Ks, backgrounds, width, height).tiles
    images = [means.new_empty(C, height, width, channels) for channels in (3, 1, 1)]
    image_normals = means.new_empty((C, height, width, 3) if normals else 0)
    splat_normals = means.new_empty((C, N, 4) if normals else 0)
    keys = means.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)
    return (
        *images, image_normals, means.new_empty(C, N), means.new_empty(2, dtype=torch.int32), means.new_empty(C, N, 12),
        splat_normals, means.new_empty(C, height, width), means.new_empty(C, height, width, dtype=torch.int32),
        means.new_empty(C * columns * rows + 1, dtype=torch.int32), keys,
    )  # fmt: skip


@torch.library.custom_op("sds3d::splat_backward", mutates_args=(), device_types="cuda")
def _draw_backward(
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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # of the parameters, offsets [0 if none], the probe
    inputs = [x.contiguous() for x in inputs]
    splats, backgrounds, viewmats, Ks = inputs[:5], *inputs[5:]
    offsets = None if means2d_offsets is None else means2d_offsets.contiguous()
    view = _view(backgrounds, offsets, viewmats, Ks, width, height, near_plane)
    cotangents = [None if v is None else v.contiguous() for v in (v_colors, v_alphas, v_depths, v_normals)]
    out, v_offsets, norm = splat_cuda.gradients(
        splats, view, Drawing(*drawing), cotangents, deterministic=deterministic
    )
    return *out, norm.new_empty(0) if v_offsets is None else v_offsets, norm


@_draw_backward.register_fake
def _(
    inputs, means2d_offsets, drawing, v_colors, v_alphas, v_depths, v_normals, width, height, near_plane, deterministic
):  # fmt: skip
    offsets = inputs[0].new_empty(0) if means2d_offsets is None else torch.empty_like(means2d_offsets)
    return *(torch.empty_like(x) for x in inputs[:5]), offsets, torch.empty_like(inputs[3])


def _setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
    *parameters, backgrounds, offsets, _, viewmats, Ks, width, height, near_plane, _, deterministic = inputs
    ctx.save_for_backward(*parameters, backgrounds, viewmats, Ks, offsets, *output)
    ctx.options = (width, height, near_plane, deterministic)
    ctx.mark_non_differentiable(*output[4:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, v_colors: Any, v_alphas: Any, v_depths: Any, v_normals: Any, *_: Any) -> tuple:
    *inputs, offsets = ctx.saved_tensors[:9]
    drawing = list(ctx.saved_tensors[9:])
    *gradients, v_offsets, norm = _draw_backward(
        inputs, offsets, drawing, v_colors, v_alphas, v_depths, v_normals, *ctx.options
    )
    v_backgrounds = None
    if ctx.needs_input_grad[5] and v_colors is not None:
        v_backgrounds = ((1 - drawing[1]) * v_colors).sum((1, 2))
    v_offsets = None if offsets is None else v_offsets
    return *gradients, v_backgrounds, v_offsets, norm, None, None, None, None, None, None, None


_draw.register_autograd(_backward, setup_context=_setup_context)
