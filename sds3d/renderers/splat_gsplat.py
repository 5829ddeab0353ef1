"""Gaussian splatting on CUDA by gsplat 1.5 (pip install "sds3d[gsplat]")."""

from __future__ import annotations

import torch
from torch import Tensor

from sds3d.interfaces import Splats
from sds3d.renderers.constants import LOW_PASS
from sds3d.renderers.rasterizer import Rasterized, View


def rasterize(splats: Splats, view: View, *, normals: bool = False, deterministic: bool = False) -> Rasterized:
    """Images and info of `splats`, never with normals, which would cost a second pass.

    Sums in the backward pass are in no fixed order.
    """
    from gsplat import rasterization

    if normals or deterministic:
        raise ValueError("normals, deterministic: gsplat has neither; use the native or the torch backend")
    if view.means2d_offsets is not None:
        raise ValueError("means2d_offsets: gsplat projects by itself; use the native or the torch backend")
    means = splats.means
    width, height, backgrounds = view.width, view.height, view.backgrounds
    C, N = len(view.viewmats), len(means)
    if N == 0:  # gsplat refuses an empty scene
        empty = means.new_zeros(C, height, width, 1) + means.sum()  # zeros that are part of the graph
        colors = backgrounds[:, None, None].expand(-1, height, width, -1)
        info = {"radii": means.new_zeros(C, 0), "means2d_grad_norm": means.new_zeros(0)}
        return Rasterized(colors, empty, empty, None, info)

    images, alphas, meta = rasterization(
        *splats, view.viewmats, view.Ks, width, height, near_plane=view.near_plane, eps2d=LOW_PASS, packed=False,
        render_mode="RGB+ED", backgrounds=backgrounds, rasterize_mode="antialiased" if view.antialiased else "classic",
    )  # fmt: skip
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
    return Rasterized(images[..., :3], alphas, images[..., 3:], None, info)
