"""Gaussian splatting on CUDA by gsplat 1.5 (pip install "sds3d[gsplat]")."""

from __future__ import annotations

import torch
from torch import Tensor

from sds3d.renderers.constants import LOW_PASS, NEAR_PLANE
from sds3d.renderers.splat_reference import check_shapes


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
    means2d_offsets: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, None, dict[str, Tensor]]:
    """What `splat_reference.rasterize` returns, but no normals, which nothing asks for on this way and which cost time.

    Sums in the backward pass are in no fixed order.
    """
    from gsplat import rasterization

    check_shapes(means, quats, scales, opacities, colors, viewmats, Ks, backgrounds, means2d_offsets)
    if means2d_offsets is not None:
        raise ValueError("means2d_offsets: gsplat projects by itself; use the native or the torch backend")
    C, N = len(viewmats), len(means)
    if N == 0:  # gsplat refuses an empty scene
        empty = means.new_zeros(C, height, width, 1) + means.sum()  # zeros that are part of the graph
        colors = backgrounds[:, None, None].expand(-1, height, width, -1)
        info = {"radii": means.new_zeros(C, 0), "means2d_grad_norm": means.new_zeros(0)}
        return colors, empty, empty, None, info

    images, alphas, meta = rasterization(
        means,
        quats,
        scales,
        opacities,
        colors,
        viewmats,
        Ks,
        width,
        height,
        near_plane=near_plane,
        eps2d=LOW_PASS,
        packed=False,
        render_mode="RGB+ED",
        backgrounds=backgrounds,
    )
    grad_norm = means.new_zeros(N)
    means2d = meta["means2d"]
    if means2d.requires_grad:

        def fill(v_means2d: Tensor) -> None:
            v_x, v_y = v_means2d.unbind(-1)
            grad_norm.copy_(torch.hypot(width / 2 * v_x, height / 2 * v_y).sum(0))

        means2d.register_hook(fill)
    radii = meta["radii"]
    if radii.dim() == 3:  # one radius for each axis since gsplat 1.5
        radii = radii.amax(-1)
    info = {"radii": radii.to(means.dtype), "means2d_grad_norm": grad_norm}
    return images[..., :3], alphas, images[..., 3:], None, info
