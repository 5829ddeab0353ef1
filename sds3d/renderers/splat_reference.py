"""Gaussian splatting in plain torch: the reference that every kernel is tested against, at any precision.

Projection is EWA splatting (Zwicker et al. 2001, "EWA volume splatting") as in
3D Gaussian splatting (arXiv:2308.04079).
Dense over splats and pixels, so it is slow and needs memory in proportion to N * H * W.
"""

from __future__ import annotations

from collections.abc import Callable

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
    means, quats, scales, opacities, colors = splats
    width, height = view.width, view.height
    rotations = quats_to_rotations(quats)
    matrices = rotations * scales[:, None, :]
    shortest = scales.detach().argmin(-1)
    axes = rotations.gather(2, shortest[:, None, None].expand(-1, 3, 1))[..., 0]
    pixels = _pixel_centers(width, height, means)
    images = []
    radii = means.new_zeros(len(view.viewmats), len(means))
    grad_norm = means.new_zeros(len(means))
    for c, (viewmat, K, background) in enumerate(zip(view.viewmats, view.Ks, view.backgrounds, strict=True)):
        means2d, covariances, zs = _project(means, matrices, viewmat, K, width, height)
        if view.means2d_offsets is not None:
            means2d = means2d + view.means2d_offsets[c]
        if means2d.requires_grad:
            means2d.register_hook(_accumulate_norm(grad_norm, width, height))
        facing = ((viewmat[:3, :3] @ axes[..., None])[..., 0] * _to_camera(means, viewmat)).sum(-1)
        facing_axes = torch.where(facing[:, None] > 0, -axes, axes)

        with torch.no_grad():
            radii[c] = _radii(means2d, covariances, zs, opacities, width, height, view.near_plane)
            visible = radii[c].nonzero()[:, 0]
            order = visible[zs[visible].argsort(stable=True)]
        features = torch.cat([colors, zs[:, None], facing_axes], -1)[order]
        blended, alphas = _blend(means2d[order], covariances[order], opacities[order], features, pixels)
        depths = torch.where(alphas > 0, blended[:, 3:4] / alphas.clamp(min=1e-10), 0.0)
        images.append([blended[:, :3] + (1 - alphas) * background, alphas, depths, blended[:, 4:]])
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


def _to_camera(means: Tensor, viewmat: Tensor) -> Tensor:
    return means @ viewmat[:3, :3].T + viewmat[:3, 3]


def _project(
    means: Tensor, matrices: Tensor, viewmat: Tensor, K: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Centers [N, 2] and covariances [N, 2, 2] in pixels, camera-space z [N]; `matrices` [N, 3, 3] = R diag(s)."""
    x, y, z = _to_camera(means, viewmat).unbind(-1)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    # Far outside the image the linearized projection would blow up: there it is taken at the border.
    margin_x, margin_y = FRUSTUM_MARGIN * width, FRUSTUM_MARGIN * height
    xc = torch.minimum(torch.maximum(x / z, -(cx + margin_x) / fx), (width - cx + margin_x) / fx)
    yc = torch.minimum(torch.maximum(y / z, -(cy + margin_y) / fy), (height - cy + margin_y) / fy)
    zero = torch.zeros_like(z)
    jacobians = torch.stack([fx / z, zero, -fx * xc / z, zero, fy / z, -fy * yc / z], -1).reshape(-1, 2, 3)
    projected = jacobians @ (viewmat[:3, :3] @ matrices)
    low_pass = LOW_PASS * torch.eye(2, dtype=means.dtype, device=means.device)
    covariances = projected @ projected.transpose(1, 2) + low_pass
    return torch.stack([fx * x / z + cx, fy * y / z + cy], -1), covariances, z


def _radii(
    means2d: Tensor, covariances: Tensor, zs: Tensor, opacities: Tensor, width: int, height: int, near_plane: float
) -> Tensor:
    """Half the longer side of the box in which a splat's alpha reaches ALPHA_MIN, [N] whole pixels; 0 = not visible."""
    reach = (2 * (opacities / ALPHA_MIN).log()).clamp(min=0).sqrt()
    extents = reach[:, None] * covariances.diagonal(dim1=1, dim2=2).sqrt()
    size = torch.tensor([width, height], dtype=means2d.dtype, device=means2d.device)
    # At least one pixel center lies in the box.
    first = (means2d - extents - 0.5).clamp(min=0).ceil()
    last = torch.minimum(means2d + extents + 0.5, size).floor() - 1
    visible = (zs >= near_plane) & (opacities > ALPHA_MIN) & (first <= last).all(-1)
    return torch.where(visible, extents.amax(-1).ceil(), 0.0)


def _blend(
    means2d: Tensor, covariances: Tensor, opacities: Tensor, features: Tensor, pixels: Tensor
) -> tuple[Tensor, Tensor]:
    """Blended features [P, F] and alphas [P, 1] of splats sorted front to back (arXiv:2308.04079 eq. 3)."""
    conics = torch.linalg.inv(covariances)
    d = means2d - pixels[:, None]  # [P, N, 2]
    sigmas = 0.5 * (conics[:, 0, 0] * d[..., 0] ** 2 + conics[:, 1, 1] * d[..., 1] ** 2)
    sigmas = sigmas + conics[:, 0, 1] * d[..., 0] * d[..., 1]
    alphas = (opacities * (-sigmas).exp()).clamp(max=ALPHA_MAX)
    alphas = torch.where(alphas >= ALPHA_MIN, alphas, 0.0)
    after = (1 - alphas).cumprod(-1)
    # Transmittance only falls, so the first splat that would cross the limit ends the pixel.
    alphas = torch.where(after > TRANSMITTANCE_MIN, alphas, 0.0)
    after = (1 - alphas).cumprod(-1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], -1)
    weights = alphas * before
    return weights @ features, 1 - (1 - alphas).prod(-1, keepdim=True)


def _accumulate_norm(grad_norm: Tensor, width: int, height: int) -> Callable[[Tensor | None], None]:
    """A hook that adds the norm of d loss / d means2d, in units of half the image, to `grad_norm` [N]."""

    def hook(v_means2d: Tensor | None) -> None:
        if v_means2d is None:  # autograd's zero
            return
        half_size = torch.tensor([width / 2, height / 2], dtype=v_means2d.dtype, device=v_means2d.device)
        grad_norm.add_((v_means2d * half_size).norm(dim=-1))

    return hook
