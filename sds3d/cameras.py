"""Cameras and orbits, and the definition of the axes: right-handed, z up, azimuth 0 = +x = front, counter-clockwise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Elevations = Literal["uniform", "mvdream"]
STANDARD_DISTANCE, STANDARD_FOV_DEG = 2.7, 40.0  # world units, degrees: the view of turntables, meshes and priors


@dataclass(frozen=True)
class Cameras:
    """C pinhole views; views of one orbit are adjacent: index = orbit * num_views + view."""

    viewmats: Tensor  # [C, 4, 4] world-to-camera, OpenCV axes (x right, y down, z forward)
    Ks: Tensor  # [C, 3, 3] pixels, pixel centers at +0.5
    width: int
    height: int

    def __len__(self) -> int:
        return self.viewmats.shape[0]

    @property
    def camtoworlds(self) -> Tensor:
        """Camera-to-world matrices [C, 4, 4], the exact inverse of the rigid `viewmats`."""
        rotations = self.viewmats[:, :3, :3].transpose(1, 2)
        camtoworlds = torch.zeros_like(self.viewmats)
        camtoworlds[:, :3, :3] = rotations
        camtoworlds[:, :3, 3] = -(rotations @ self.viewmats[:, :3, 3:])[..., 0]
        camtoworlds[:, 3, 3] = 1
        return camtoworlds

    @property
    def positions(self) -> Tensor:
        """Camera centers [C, 3] in world units."""
        return self.camtoworlds[:, :3, 3]

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels [C, P, 2] and camera-space depths [C, P] of world `points` [P, 3].

        Pixels are meaningless where the depth is not positive: such points lie in the camera's plane or behind it.
        """
        local = points @ self.viewmats[:, :3, :3].transpose(1, 2) + self.viewmats[:, None, :3, 3]
        homogeneous = local @ self.Ks.transpose(1, 2)
        return homogeneous[..., :2] / homogeneous[..., 2:], local[..., 2]

    def grid(self, pixels: Tensor) -> Tensor:
        """`pixels` [..., 2] in the coordinates of `grid_sample`, in which the image reaches from -1 to 1."""
        return torch.stack([2 * pixels[..., 0] / self.width - 1, 2 * pixels[..., 1] / self.height - 1], -1)

    def to(self, device: torch.device | str) -> Cameras:
        """The same cameras with their tensors on `device`."""
        return Cameras(self.viewmats.to(device), self.Ks.to(device), self.width, self.height)

    def __getitem__(self, index: slice) -> Cameras:
        return Cameras(self.viewmats[index], self.Ks[index], self.width, self.height)


def orbit_cameras(
    azimuths: Tensor,  # [C] radians
    elevations: Tensor,  # [C] radians
    distances: Tensor,  # [C] world units
    fov: float | Tensor,  # vertical and horizontal field of view, radians; a number or [C]
    resolution: int,
) -> Cameras:
    """Square views that look at the origin from `distances`, world up = image up."""
    azimuths, elevations, distances = torch.broadcast_tensors(azimuths, elevations, distances)
    directions = torch.stack(
        [elevations.cos() * azimuths.cos(), elevations.cos() * azimuths.sin(), elevations.sin()], -1
    )
    forward = -directions
    right = torch.stack([-azimuths.sin(), azimuths.cos(), torch.zeros_like(azimuths)], -1)
    down = torch.linalg.cross(forward, right)
    rotations = torch.stack([right, down, forward], 1)  # rows are the camera axes in world coordinates
    viewmats = torch.eye(4, dtype=azimuths.dtype, device=azimuths.device).repeat(len(azimuths), 1, 1)
    viewmats[:, :3, :3] = rotations
    viewmats[:, :3, 3] = -(rotations @ (directions * distances[:, None])[..., None])[..., 0]
    fov = torch.as_tensor(fov, dtype=azimuths.dtype, device=azimuths.device).expand(len(azimuths))
    focals = 0.5 * resolution / (0.5 * fov).tan()
    Ks = torch.zeros_like(viewmats[:, :3, :3])
    Ks[:, 0, 0] = Ks[:, 1, 1] = focals
    Ks[:, 0, 2] = Ks[:, 1, 2] = 0.5 * resolution
    Ks[:, 2, 2] = 1
    return Cameras(viewmats, Ks, resolution, resolution)


def turntable(
    num_views: int,
    resolution: int,
    elevation_deg: float = 15.0,
    distance: float = STANDARD_DISTANCE,
    fov_deg: float = STANDARD_FOV_DEG,
    start_azimuth_deg: float = 0.0,
) -> Cameras:
    """One ring of `num_views` equally spaced views, counter-clockwise from `start_azimuth_deg`."""
    azimuths = math.radians(start_azimuth_deg) + torch.arange(num_views) * (2 * math.pi / num_views)
    elevations = torch.full_like(azimuths, math.radians(elevation_deg))
    return orbit_cameras(azimuths, elevations, torch.full_like(azimuths, distance), math.radians(fov_deg), resolution)


def sample_orbits(
    num_orbits: int,
    num_views: int,
    resolution: int,
    elevation_deg: tuple[float, float],
    distance: tuple[float, float],
    fov_deg: tuple[float, float],
    generator: torch.Generator,
    zoom: bool = False,  # distances are in units of 1 / tan(fov / 2), as MVDream's authors sample them
    elevations: Elevations = "uniform",
) -> Cameras:
    """Random rings of `num_views` views: one azimuth offset, elevation, distance and field of view per ring.

    Elevations are uniform; or as MVDream's authors sample them (threestudio's RandomCameraDataModule): half of them
    uniform, half the asin of a number that is uniform between the bounds divided by 90 degrees, which is lower.
    """
    u = torch.rand(4, num_orbits, generator=generator)

    def uniform(row: int, bounds: Sequence[float]) -> Tensor:
        return bounds[0] + (bounds[1] - bounds[0]) * u[row]

    steps = torch.arange(num_views) / num_views
    azimuths = (2 * math.pi * (u[0][:, None] + steps)).reshape(-1)
    angles = torch.deg2rad(uniform(1, elevation_deg))
    if elevations == "mvdream":
        is_uniform = torch.rand(num_orbits, generator=generator) < 0.5
        angles = torch.where(is_uniform, angles, torch.asin(uniform(1, elevation_deg) / 90))
    angles, distances, fovs = (
        x.repeat_interleave(num_views) for x in (angles, uniform(2, distance), torch.deg2rad(uniform(3, fov_deg)))
    )
    if zoom:
        distances = distances / (fovs / 2).tan()
    return orbit_cameras(azimuths, angles, distances, fovs, resolution)


def pose_vectors(cameras: Cameras) -> Tensor:
    """The camera conditioning of MVDream (arXiv:2308.16512), [C, 16]: camera-to-world, OpenGL axes, row-major.

    The translation has unit length: MVDream is not conditioned on distance or field of view.
    """
    camtoworlds = cameras.camtoworlds.clone()
    camtoworlds[:, :3, 1:3] *= -1  # OpenCV to OpenGL axes
    camtoworlds[:, :3, 3] = torch.nn.functional.normalize(camtoworlds[:, :3, 3], dim=-1)
    return camtoworlds.flatten(1)


def pixel_rays(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """World-space ray origins [C, H, W, 3] and unit directions [C, H, W, 3] through the pixel centers."""
    device, dtype = cameras.Ks.device, cameras.Ks.dtype
    y, x = torch.meshgrid(
        torch.arange(cameras.height, device=device, dtype=dtype) + 0.5,
        torch.arange(cameras.width, device=device, dtype=dtype) + 0.5,
        indexing="ij",
    )
    Ks = cameras.Ks[:, None, None]
    local = torch.stack(
        [
            (x - Ks[..., 0, 2]) / Ks[..., 0, 0],
            (y - Ks[..., 1, 2]) / Ks[..., 1, 1],
            torch.ones_like(x).expand(len(cameras), -1, -1),
        ],
        -1,
    )
    camtoworlds = cameras.camtoworlds
    directions = torch.einsum("cij,chwj->chwi", camtoworlds[:, :3, :3], local)
    origins = camtoworlds[:, None, None, :3, 3].expand_as(directions)
    return origins, torch.nn.functional.normalize(directions, dim=-1)
