"""Similarity of a mesh to the splats that it was made from."""

from __future__ import annotations

import math

import torch

from sds3d.cameras import STANDARD_DISTANCE, STANDARD_FOV_DEG, orbit_cameras
from sds3d.interfaces import Renderer, TexturedMesh
from sds3d.mesh.render import render_mesh

VIEWS, RESOLUTION, BACKGROUND = 24, 256, 1.0


@torch.no_grad()
def compare(mesh: TexturedMesh, renderer: Renderer, device: torch.device) -> dict[str, float]:
    """PSNR in dB over whole white-backed images and silhouette IoU at alpha 0.5, over 24 views.

    The views: eight azimuths at each of the elevations -15, 15 and 45 degrees, 256 pixels square.
    """
    azimuths = torch.arange(8).repeat(3) * (2 * math.pi / 8)
    elevations = torch.deg2rad(torch.tensor([-15.0, 15.0, 45.0])).repeat_interleave(8)
    distances = torch.full((VIEWS,), STANDARD_DISTANCE)
    fov = math.radians(STANDARD_FOV_DEG)
    cameras = orbit_cameras(azimuths, elevations, distances, fov, RESOLUTION).to(device)
    backgrounds = torch.full((VIEWS, 3), BACKGROUND, device=device)
    splats, drawn = renderer(cameras, backgrounds), render_mesh(mesh, cameras, backgrounds)
    error = (splats.colors.clamp(0, 1) - drawn.colors).square().mean().item()
    a, b = splats.alphas > 0.5, drawn.alphas > 0.5
    iou = (a & b).sum().item() / max((a | b).sum().item(), 1)
    return {"psnr_db": -10 * math.log10(max(error, 1e-10)), "iou": iou}
