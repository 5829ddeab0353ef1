"""Base color from many rendered views."""

from __future__ import annotations

import math

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from sds3d.cameras import STANDARD_DISTANCE, STANDARD_FOV_DEG, Cameras, orbit_cameras
from sds3d.interfaces import Renderer
from sds3d.mesh.raster import interpolate, rasterize, rasterize_uv

FACING_POWER = 4  # a view counts by the cosine of its angle to the surface to this power
DEPTH_BIAS = 0.03  # world units by which a texel may lie behind the depth map and still be seen
SOLID = 0.7  # alpha from which a splat render's color is trusted


def sphere_cameras(num_views: int, resolution: int) -> Cameras:
    """`num_views` cameras spread evenly over the sphere (Fibonacci lattice), looking at the origin."""
    index = torch.arange(num_views) + 0.5
    elevations = torch.asin(1 - 2 * index / num_views)
    azimuths = (math.pi * (1 + 5**0.5) * index) % (2 * math.pi)
    distances = torch.full_like(azimuths, STANDARD_DISTANCE)
    return orbit_cameras(azimuths, elevations, distances, math.radians(STANDARD_FOV_DEG), resolution)


@torch.no_grad()
def bake(
    vertices: Tensor,  # [V, 3] world units, split along chart borders
    faces: Tensor,  # [F, 3]
    normals: Tensor,  # [V, 3] unit
    uvs: Tensor,  # [V, 2]
    renderer: Renderer,
    texture_size: int,
    num_views: int,
    resolution: int,
) -> Tensor:
    """Texture [S, S, 3] in [0, 1]: each texel the mean of the views that see it, weighted by how squarely they do.

    Texels that no view sees, and the gaps between charts, take the color of the nearest texel that has one.
    """
    texels = rasterize_uv(uvs, faces, texture_size)
    covered = texels.mask[0]
    positions = interpolate(vertices, faces, texels)[0][covered]  # [P, 3]
    directions = F.normalize(interpolate(normals, faces, texels)[0][covered], dim=-1)
    colors, weights = torch.zeros_like(positions), positions.new_zeros(len(positions), 1)
    cameras = sphere_cameras(num_views, resolution).to(vertices.device)
    for view in range(num_views):
        camera = cameras[view : view + 1]
        seen, weight = _view_colors(positions, directions, vertices, faces, renderer, camera)
        colors += weight * seen
        weights += weight
    texture = positions.new_zeros(texture_size, texture_size, 3)
    known = torch.zeros_like(covered)
    texture[covered] = colors / weights.clamp_min(1e-12)
    known[covered] = weights[:, 0] > 1e-6
    return _fill(texture, known).clamp(0, 1)


def _view_colors(
    positions: Tensor, directions: Tensor, vertices: Tensor, faces: Tensor, renderer: Renderer, camera: Cameras
) -> tuple[Tensor, Tensor]:
    """Colors [P, 3] of the points in one view and their weights [P, 1], 0 where hidden or at a faint pixel."""
    render = renderer(camera, torch.zeros(1, 3, device=positions.device))
    opaque = render.colors / render.alphas.clamp_min(1e-3)  # over black the render is premultiplied
    depths = rasterize(vertices, faces, camera).depths[..., None]
    depths = torch.where(depths > 0, depths, torch.full_like(depths, 1e3))
    pixels, distances = (of_view[0] for of_view in camera.project(positions))
    grid = camera.grid(pixels)
    images = torch.cat([opaque, render.alphas], -1).permute(0, 3, 1, 2)
    sampled = F.grid_sample(images, grid[None, None], padding_mode="border", align_corners=False)[0, :, 0].T
    nearest = F.grid_sample(depths.permute(0, 3, 1, 2), grid[None, None], mode="nearest", align_corners=False)[0, 0, 0]
    facing = (directions * F.normalize(camera.positions - positions, dim=-1)).sum(-1).clamp_min(0)
    visible = (distances < nearest + DEPTH_BIAS) & (sampled[:, 3] > SOLID)
    return sampled[:, :3].clamp(0, 1), (visible * facing**FACING_POWER)[:, None]


def _fill(texture: Tensor, known: Tensor) -> Tensor:
    """`texture` with every unknown texel set to the nearest known one."""
    if not known.any():
        return torch.full_like(texture, 0.5)
    rows, columns = ndimage.distance_transform_edt(~known.cpu().numpy(), return_distances=False, return_indices=True)
    return texture[torch.from_numpy(rows).to(texture.device), torch.from_numpy(columns).to(texture.device)]
