"""Gaussian splatting in plain torch: the truth that every kernel is tested against, at any precision.

Projection is EWA splatting (Zwicker et al. 2001, "EWA volume splatting") as in
3D Gaussian splatting (arXiv:2308.04079).
Dense over splats and pixels, so it is slow and needs memory in proportion to N * H * W.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sds3d.renderers.constants import (
    ALPHA_MAX,
    ALPHA_MIN,
    FRUSTUM_MARGIN,
    LOW_PASS,
    NEAR_PLANE,
    TRANSMITTANCE_MIN,
)
from sds3d.representations.rotations import quats_to_rotations


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
) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Colors [C, H, W, 3], alphas [C, H, W, 1], depths [C, H, W, 1], normals [C, H, W, 3] and info.

    Depth is the expected camera-space z of what is visible, 0 where alpha is 0. The normal of a splat is its shortest
    axis, turned towards the camera; the image holds their alpha-weighted sum in world space. Info: `radii` [C, N]
    pixels (0 = not visible) and `means2d_grad_norm` [N], which backward fills with the sum over views of
    |(W/2 d loss/du, H/2 d loss/dv)|, the image-space gradient in units of half the image.
    """
    check_shapes(means, quats, scales, opacities, colors, viewmats, Ks, backgrounds, means2d_offsets)
    rotations = quats_to_rotations(quats)
    matrices = rotations * scales[:, None, :]
    shortest = scales.detach().argmin(-1)
    axes = rotations.gather(2, shortest[:, None, None].expand(-1, 3, 1))[..., 0]
    pixels = _pixel_centres(width, height, means)
    images = []
    radii = means.new_zeros(len(viewmats), len(means))
    grad_norm = means.new_zeros(len(means))
    for view, (viewmat, K, background) in enumerate(zip(viewmats, Ks, backgrounds, strict=True)):
        means2d, covariances, zs = _project(means, matrices, viewmat, K, width, height)
        if means2d_offsets is not None:
            means2d = means2d + means2d_offsets[view]
        if means2d.requires_grad:
            means2d.register_hook(_accumulate_norm(grad_norm, width, height))
        facing = ((viewmat[:3, :3] @ axes[..., None])[..., 0] * _to_camera(means, viewmat)).sum(-1)
        normals = torch.where(facing[:, None] > 0, -axes, axes)

        with torch.no_grad():
            radii[view] = _radii(means2d, covariances, zs, opacities, width, height, near_plane)
            visible = radii[view].nonzero()[:, 0]
            order = visible[zs[visible].argsort(stable=True)]
        features = torch.cat([colors, zs[:, None], normals], -1)[order]
        blended, alphas = _blend(means2d[order], covariances[order], opacities[order], features, pixels)
        depths = torch.where(alphas > 0, blended[:, 3:4] / alphas.clamp(min=1e-10), 0.0)
        images.append([blended[:, :3] + (1 - alphas) * background, alphas, depths, blended[:, 4:]])
    colors, alphas, depths, normals = (
        torch.stack(channels).reshape(len(viewmats), height, width, -1) for channels in zip(*images, strict=True)
    )
    return colors, alphas, depths, normals, {"radii": radii, "means2d_grad_norm": grad_norm}


def check_shapes(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    backgrounds: Tensor,
    means2d_offsets: Tensor | None = None,
) -> None:
    """Raises ValueError unless the arguments of `rasterize` agree on N and C, device and dtype."""
    N, C = len(means), len(viewmats)
    expected = {
        "means": (means, (N, 3)),
        "quats": (quats, (N, 4)),
        "scales": (scales, (N, 3)),
        "opacities": (opacities, (N,)),
        "colors": (colors, (N, 3)),
        "viewmats": (viewmats, (C, 4, 4)),
        "Ks": (Ks, (C, 3, 3)),
        "backgrounds": (backgrounds, (C, 3)),
    }
    if means2d_offsets is not None:
        expected["means2d_offsets"] = (means2d_offsets, (C, N, 2))
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"{name}: expected {list(shape)} for N={N} splats and C={C} views, got {list(tensor.shape)}"
            )
        if tensor.dtype != means.dtype or tensor.device != means.device:
            raise ValueError(
                f"{name}: expected {means.dtype} on {means.device} like means, got {tensor.dtype} on {tensor.device}"
            )


def _pixel_centres(width: int, height: int, like: Tensor) -> Tensor:
    """Pixel centres [H * W, 2] (x, y), at +0.5."""
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
    """Centres [N, 2] and covariances [N, 2, 2] in pixels, camera-space z [N]; `matrices` [N, 3, 3] = R diag(s)."""
    x, y, z = _to_camera(means, viewmat).unbind(-1)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    # Far outside the image the linearised projection would blow up: there it is taken at the border.
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
    # At least one pixel centre lies in the box.
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
        if v_means2d is None:  # autograd's way to say zero
            return
        half_size = torch.tensor([width / 2, height / 2], dtype=v_means2d.dtype, device=v_means2d.device)
        grad_norm.add_((v_means2d * half_size).norm(dim=-1))

    return hook
