"""Normals of rendered surfaces, as vectors and as images, for priors that predict normals in addition to colors."""

from __future__ import annotations

import torch
from torch import Tensor

from sds3d.cameras import Cameras

COVERED = 0.1  # alpha; below it, a pixel is haze, whose depth is not that of a surface


def normal_images(normals: Tensor) -> Tensor:
    """Alpha-weighted `normals` in [-1, 1] as values in [0, 1]; empty pixels are exactly 0.5."""
    return 0.5 + 0.5 * normals


def depth_normals(depths: Tensor, alphas: Tensor, cameras: Cameras) -> Tensor:
    """World-space normals [C, H, W, 3] of the surface at `depths` [C, H, W, 1], times `alphas` [C, H, W, 1].

    The normal is the cross product of central differences of the unprojected points; differences are one-sided at the
    border of the covered area. In this order the product faces the camera for any depths, since the two neighbors of a
    pixel lie on opposite sides of its ray. Only the depths receive a gradient: a surface whose normals are wrong should
    rotate, not fade; the colors train its coverage.
    """
    points = _camera_points(depths, cameras)
    covered = alphas.detach() >= COVERED
    across, down = _difference(points, covered, dim=2), _difference(points, covered, dim=1)
    product = torch.linalg.cross(down, across)
    flat = ~covered | (product.detach() == 0).all(
        -1, keepdim=True
    )  # a pixel without covered neighbors in its row or column has no slope
    lengths = product.masked_fill(flat, 1.0).norm(dim=-1, keepdim=True)
    in_camera = (product / lengths).masked_fill(flat, 0.0) * alphas.detach()
    return torch.einsum("cij,chwi->chwj", cameras.viewmats[:, :3, :3], in_camera)


def _camera_points(depths: Tensor, cameras: Cameras) -> Tensor:
    """Points [C, H, W, 3] in camera axes on the rays of the pixel centers at `depths` [C, H, W, 1]."""
    columns, rows = (  # created on the device, since a CUDA graph cannot record a copy to it
        torch.arange(count, device=depths.device, dtype=depths.dtype) for count in (cameras.width, cameras.height)
    )
    x = (columns + 0.5 - cameras.Ks[:, 0, 2, None]) / cameras.Ks[:, 0, 0, None]  # [C, W]
    y = (rows + 0.5 - cameras.Ks[:, 1, 2, None]) / cameras.Ks[:, 1, 1, None]  # [C, H]
    return torch.cat([x[:, None, :, None] * depths, y[:, :, None, None] * depths, depths], -1)


def _difference(points: Tensor, covered: Tensor, dim: int) -> Tensor:
    """The next minus the previous neighbor of each pixel along `dim`; the pixel itself replaces an uncovered one."""
    previous, following = (
        torch.where(neighbors(covered, dim), neighbors(points, dim), points) for neighbors in (_previous, _next)
    )
    return following - previous


def _previous(images: Tensor, dim: int) -> Tensor:
    """The previous pixel along `dim`; at the border, the pixel itself."""
    return torch.cat([images.narrow(dim, 0, 1), images.narrow(dim, 0, images.shape[dim] - 1)], dim)


def _next(images: Tensor, dim: int) -> Tensor:
    """The next pixel along `dim`; at the border, the pixel itself."""
    last = images.shape[dim] - 1
    return torch.cat([images.narrow(dim, 1, last), images.narrow(dim, last, 1)], dim)
