"""From a scene to a textured mesh: extract, clean, unwrap, bake, measure."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sds3d.cameras import Cameras
from sds3d.config.schema import MeshConfig
from sds3d.interfaces import Renderer, TexturedMesh
from sds3d.mesh.bake import bake, sphere_cameras
from sds3d.mesh.clean import clean, is_watertight, vertex_normals
from sds3d.mesh.compare import compare
from sds3d.mesh.extract import (
    Density,
    best_threshold,
    blur,
    carved_density,
    isosurface,
    ray_maxima,
)
from sds3d.mesh.unwrap import unwrap
from sds3d.stopwatch import Stopwatch

SILHOUETTE_VIEWS, SILHOUETTE_RESOLUTION = 12, 96
HULL_VIEWS, HULL_RESOLUTION = 32, 128
THRESHOLDS = (0.02, 4.0)  # between which the isosurface's level is searched


def build_mesh(
    density: Density, renderer: Renderer, cfg: MeshConfig, device: torch.device
) -> tuple[TexturedMesh, dict[str, Any]]:
    """The textured mesh of a scene and what was measured on it; UserError if there is nothing to mesh.

    `density` maps world points [P, 3] to [P]; `renderer` draws the same scene.
    """
    watch = Stopwatch()
    vertices, faces, threshold, components = _surface(density, renderer, cfg.grid, device, watch)
    vertices, faces = clean(vertices, faces, cfg.faces)
    watch.lap("surface")
    sources, split_faces, corners = unwrap(vertices, faces, cfg.texture_size)
    watch.lap("unwrap")
    arrays = (vertices[sources], split_faces, vertex_normals(vertices, faces)[sources], corners)
    tensors = (torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays)
    positions, triangles, normals, uvs = (x if x.dtype == torch.int64 else x.float() for x in tensors)
    texture = bake(
        positions, triangles, normals, uvs, renderer, cfg.texture_size, cfg.bake_views, cfg.bake_resolution
    )  # fmt: skip
    mesh = TexturedMesh(positions, triangles, normals, uvs, texture)
    watch.lap("bake")
    report = compare(mesh, renderer, device)
    watch.lap("compare")
    return mesh, {
        "threshold": threshold,
        "faces": len(faces),
        "vertices": len(vertices),
        "components": components,
        "watertight": is_watertight(faces),
        **report,
        "mesh_seconds": {name: round(seconds, 3) for name, seconds in watch.seconds.items()},
    }


def _surface(
    density: Density, renderer: Renderer, grid: int, device: torch.device, watch: Stopwatch
) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Vertices and faces of the isosurface whose silhouettes match, its threshold and its number of components.

    The grid needs the most memory of all steps, so it is freed here.
    """
    alphas, cameras = _silhouettes(renderer, HULL_VIEWS, HULL_RESOLUTION, device)
    field = blur(carved_density(density, alphas, cameras, grid))
    watch.lap("density")
    alphas, cameras = _silhouettes(renderer, SILHOUETTE_VIEWS, SILHOUETTE_RESOLUTION, device)
    maxima = ray_maxima(field, cameras)
    threshold, _ = best_threshold(maxima, alphas[..., 0] > 0.5, *THRESHOLDS)
    watch.lap("threshold")
    vertices, faces, components = isosurface(field, threshold)
    return vertices, faces, threshold, components


@torch.no_grad()
def _silhouettes(
    renderer: Renderer, num_views: int, resolution: int, device: torch.device
) -> tuple[torch.Tensor, Cameras]:
    """Alphas [C, H, W, 1] of the scene from all around, and the cameras."""
    cameras = sphere_cameras(num_views, resolution).to(device)
    return renderer(cameras, torch.zeros(num_views, 3, device=device)).alphas, cameras
