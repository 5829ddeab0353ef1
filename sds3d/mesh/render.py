"""Images of textured meshes, antialiased by supersampling."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from sds3d.cameras import Cameras
from sds3d.interfaces import Render, TexturedMesh
from sds3d.mesh.raster import interpolate, rasterize

MAX_SAMPLES = 1 << 22  # rendered at a time on a GPU, in as many views as that makes; a CPU renders view by view


def render_mesh(mesh: TexturedMesh, cameras: Cameras, backgrounds: Tensor, *, supersample: int = 2) -> Render:
    """The unlit mesh over `backgrounds` [C, 3]; each pixel is the mean of `supersample`^2 samples."""
    samples = cameras.width * cameras.height * supersample**2
    count = max(1, MAX_SAMPLES // samples) if cameras.Ks.is_cuda else 1

    def sample(views: Cameras) -> Tensor:
        return _layers(mesh, views)

    chunks = [cameras[i : i + count] for i in range(0, len(cameras), count)]
    layers = torch.cat([supersampled(sample, chunk, supersample) for chunk in chunks])
    colors, alphas, depths, normals = layers.split([3, 1, 1, 3], -1)
    colors = colors + (1 - alphas) * backgrounds[:, None, None]
    return Render(colors, alphas, torch.where(alphas > 0, depths / alphas.clamp(min=1e-6), 0), normals)


def supersampled(render: Callable[[Cameras], Tensor], cameras: Cameras, factor: int) -> Tensor:
    """Images [C, H, W, K] of `cameras`: each pixel is the mean of `factor`^2 pixels of what `render` returns.

    `render` gets the same views at `factor` times the resolution and returns [C, factor H, factor W, K].
    """
    scale = torch.tensor([factor, factor, 1.0], device=cameras.Ks.device)[:, None]
    fine = Cameras(cameras.viewmats, cameras.Ks * scale, cameras.width * factor, cameras.height * factor)
    return F.avg_pool2d(render(fine).permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)


def sample_texture(texture: Tensor, uvs: Tensor) -> Tensor:
    """Bilinear colors [..., 3] of `texture` [S, S, 3] at `uvs` [..., 2], v up, clamped at the border."""
    grid = torch.stack([2 * uvs[..., 0] - 1, 1 - 2 * uvs[..., 1]], -1).reshape(1, 1, -1, 2)
    colors = F.grid_sample(texture.permute(2, 0, 1)[None], grid, padding_mode="border", align_corners=False)
    return colors[0, :, 0].T.reshape(*uvs.shape[:-1], texture.shape[2])


def _layers(mesh: TexturedMesh, cameras: Cameras) -> Tensor:
    """Premultiplied color, coverage, depth and normal of every pixel center, [C, H, W, 8]; 0 where nothing is hit."""
    fragments = rasterize(mesh.vertices, mesh.faces, cameras)
    hit = fragments.mask[..., None]
    colors = hit * sample_texture(mesh.texture, interpolate(mesh.uvs, mesh.faces, fragments))
    normals = F.normalize(interpolate(mesh.normals, mesh.faces, fragments), dim=-1)
    return torch.cat([colors, hit, fragments.depths[..., None], normals], -1)
