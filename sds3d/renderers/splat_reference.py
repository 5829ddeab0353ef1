"""Gaussian splatting in plain torch: the reference that every kernel is tested against, at any precision.

Projection is EWA splatting (Zwicker et al. 2001, "EWA volume splatting") as in
3D Gaussian splatting (arXiv:2308.04079).
Dense over splats and pixels, so it is slow and needs memory in proportion to N * H * W.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sds3d.interfaces import Splats
from sds3d.renderers.constants import ALPHA_MAX, ALPHA_MIN, FRUSTUM_MARGIN, LOW_PASS, TRANSMITTANCE_MIN
from sds3d.renderers.rasterizer import Rasterized, View
from sds3d.representations.rotations import quats_to_rotations


def rasterize(splats: Splats, view: View, *, normals: bool = True, deterministic: bool = False) -> Rasterized:
    """Images and info of `splats`; on a GPU with sums in no fixed order, whether `deterministic` or not.

    The normal of a splat is its shortest axis, turned towards the camera; the image holds their alpha-weighted sum in
    world space. `means2d_grad_norm` becomes the sum over views of |(W/2 d loss/du, H/2 d loss/dv)|, the image-space
    gradient in units of half the image.
    """
    width, height = view.width, view.height
    pixels = _pixel_centers(width, height, splats.means)
    images = []
    radii = splats.means.new_zeros(len(view.viewmats), len(splats.means))
    grad_norm = splats.means.new_zeros(len(splats.means))
    for c in range(len(view.viewmats)):
        with torch.no_grad():
            projected = _project(splats, view, c)
            radii[c] = _radii(projected, width, height, view.near_plane)
            visible = radii[c].nonzero()[:, 0]
            order = visible[projected.zs[visible].argsort(stable=True)]
        # Without the others: at z = 0, say, they have infinite derivatives, which times 0 would be NaN.
        drawn = _project(Splats(*(x[order] for x in splats)), view, c, order)
        if drawn.means2d.requires_grad:
            drawn.means2d.register_hook(_accumulate_norm(grad_norm, order, width, height))
        features = torch.cat([splats.colors[order], drawn.zs[:, None], drawn.normals], -1)
        blended, alphas = _blend(drawn, features, pixels)
        depths = torch.where(alphas > 0, blended[:, 3:4] / alphas.clamp(min=1e-10), 0.0)
        images.append([blended[:, :3] + (1 - alphas) * view.backgrounds[c], alphas, depths, blended[:, 4:]])
    shaded, alphas, depths, summed_normals = (
        torch.stack(channels).reshape(len(view.viewmats), height, width, -1) for channels in zip(*images, strict=True)
    )
    info = {"radii": radii, "means2d_grad_norm": grad_norm}
    return Rasterized(shaded, alphas, depths, summed_normals if normals else None, info)


def _pixel_centers(width: int, height: int, like: Tensor) -> Tensor:
    """Pixel centers [H * W, 2] (x, y), at +0.5."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=like.dtype, device=like.device) + 0.5,
        torch.arange(width, dtype=like.dtype, device=like.device) + 0.5,
        indexing="ij",
    )
    return torch.stack([x, y], -1).reshape(-1, 2)


class Projected(NamedTuple):
    """M splats as one view sees them."""

    means2d: Tensor  # [M, 2] pixels
    covariances: Tensor  # [M, 2, 2] pixels^2
    zs: Tensor  # [M] in camera space
    normals: Tensor  # [M, 3] world space, the shortest axis, turned towards the camera
    opacities: Tensor  # [M]; of what the image shows: compensated if the view is antialiased


def _project(splats: Splats, view: View, c: int, order: Tensor | None = None) -> Projected:
    """`splats` in the view `c`; `order` [M] are their indices in the scene, if they are not all of it."""
    viewmat, K = view.viewmats[c], view.Ks[c]
    rotations = quats_to_rotations(splats.quats)
    points = splats.means @ viewmat[:3, :3].T + viewmat[:3, 3]
    x, y, z = points.unbind(-1)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    # Far outside the image the linearized projection would blow up: there it is taken at the border.
    margin_x, margin_y = FRUSTUM_MARGIN * view.width, FRUSTUM_MARGIN * view.height
    xc = torch.minimum(torch.maximum(x / z, -(cx + margin_x) / fx), (view.width - cx + margin_x) / fx)
    yc = torch.minimum(torch.maximum(y / z, -(cy + margin_y) / fy), (view.height - cy + margin_y) / fy)
    zero = torch.zeros_like(z)
    jacobians = torch.stack([fx / z, zero, -fx * xc / z, zero, fy / z, -fy * yc / z], -1).reshape(-1, 2, 3)
    matrices = jacobians @ (viewmat[:3, :3] @ (rotations * splats.scales[:, None, :]))  # [M, 2, 3]
    low_pass = LOW_PASS * torch.eye(2, dtype=z.dtype, device=z.device)
    covariances = matrices @ matrices.transpose(1, 2) + low_pass
    opacities = splats.opacities
    if view.antialiased:
        opacities = opacities * compensation(matrices, covariances)
    means2d = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
    if view.means2d_offsets is not None:
        offsets = view.means2d_offsets[c]
        means2d = means2d + (offsets if order is None else offsets[order])
    shortest = splats.scales.detach().argmin(-1)
    axes = rotations.gather(2, shortest[:, None, None].expand(-1, 3, 1))[..., 0]
    facing = ((viewmat[:3, :3] @ axes[..., None])[..., 0] * points).sum(-1, keepdim=True)
    return Projected(means2d, covariances, z, torch.where(facing > 0, -axes, axes), opacities)


def compensation(matrices: Tensor, covariances: Tensor) -> Tensor:
    """What keeps the alpha that a splat spreads over the image when the low-pass filter widens it, [M] in [0, 1].

    sqrt(det(T T^T) / det(T T^T + LOW_PASS I)), where T = `matrices` [M, 2, 3] and T T^T + LOW_PASS I = `covariances`
    [M, 2, 2]: the ratio of the Gaussians' integrals without and with the filter, as in Mip-Splatting
    (arXiv:2311.16493).
    """
    # det(T T^T) is the square of the cross product of T's rows (Cauchy-Binet), and so never negative.
    return torch.linalg.cross(matrices[:, 0], matrices[:, 1]).norm(dim=-1) / torch.linalg.det(covariances).sqrt()


def _radii(projected: Projected, width: int, height: int, near_plane: float) -> Tensor:
    """Half the longer side of the box in which a splat's alpha reaches ALPHA_MIN, [M] whole pixels; 0 = not visible."""
    means2d, opacities = projected.means2d, projected.opacities
    reach = (2 * (opacities / ALPHA_MIN).log()).clamp(min=0).sqrt()
    extents = reach[:, None] * projected.covariances.diagonal(dim1=1, dim2=2).sqrt()
    size = torch.tensor([width, height], dtype=means2d.dtype, device=means2d.device)
    # At least one pixel center lies in the box.
    first = (means2d - extents - 0.5).clamp(min=0).ceil()
    last = torch.minimum(means2d + extents + 0.5, size).floor() - 1
    visible = (projected.zs >= near_plane) & (opacities > ALPHA_MIN) & (first <= last).all(-1)
    return torch.where(visible, extents.amax(-1).ceil(), 0.0)


def _blend(drawn: Projected, features: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Blended features [P, F] and alphas [P, 1] of splats sorted front to back (arXiv:2308.04079 eq. 3)."""
    conics = torch.linalg.inv(drawn.covariances)
    d = drawn.means2d - pixels[:, None]  # [P, M, 2]
    sigmas = 0.5 * (conics[:, 0, 0] * d[..., 0] ** 2 + conics[:, 1, 1] * d[..., 1] ** 2)
    sigmas = sigmas + conics[:, 0, 1] * d[..., 0] * d[..., 1]
    alphas = (drawn.opacities * (-sigmas).exp()).clamp(max=ALPHA_MAX)
    alphas = torch.where(alphas >= ALPHA_MIN, alphas, 0.0)
    after = (1 - alphas).cumprod(-1)
    # Transmittance only falls, so the first splat that would cross the limit ends the pixel.
    alphas = torch.where(after > TRANSMITTANCE_MIN, alphas, 0.0)
    after = (1 - alphas).cumprod(-1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], -1)
    weights = alphas * before
    return weights @ features, 1 - (1 - alphas).prod(-1, keepdim=True)


def _accumulate_norm(grad_norm: Tensor, order: Tensor, width: int, height: int) -> Callable[[Tensor | None], None]:
    """A hook that adds |d loss / d means2d| [M], in units of half the image, to `grad_norm` [N] at `order` [M]."""

    def hook(v_means2d: Tensor | None) -> None:
        if v_means2d is None:  # autograd's zero
            return
        half_size = torch.tensor([width / 2, height / 2], dtype=v_means2d.dtype, device=v_means2d.device)
        grad_norm[order] += (v_means2d * half_size).norm(dim=-1)

    return hook
