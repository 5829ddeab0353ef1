"""The views of the training pictures: cameras, backgrounds and storage of layers.

Layers [..., 4 or 7] are what `tracer.trace` and `render_solid` return: premultiplied colors, coverage, and with
normals three more channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sds3d.cameras import Cameras, sample_orbits
from sds3d.imaging.normals import normal_images

NUM_VIEWS = 4
RESOLUTION = 64  # pixels
ELEVATION_DEG = (-20.0, 60.0)
DISTANCE, FOV_DEG = (2.7, 3.2), (39.0, 43.0)  # closer or narrower views would crop objects, whose radius is 0.9


def sample_views(objects: int, generator: torch.Generator) -> tuple[Cameras, Tensor]:
    """Random orbits of NUM_VIEWS views, and backgrounds [objects * NUM_VIEWS, 3], one per orbit, half of them gray."""
    cameras = sample_orbits(objects, NUM_VIEWS, RESOLUTION, ELEVATION_DEG, DISTANCE, FOV_DEG, generator)
    gray = torch.rand(objects, 1, generator=generator).expand(-1, 3)
    color = torch.rand(objects, 3, generator=generator)
    backgrounds = torch.where(torch.rand(objects, 1, generator=generator) < 0.5, gray, color)
    return cameras, backgrounds.repeat_interleave(NUM_VIEWS, 0)


def compose(layers: Tensor, backgrounds: Tensor) -> Tensor:
    """Images [C, 3 or 6, H, W] in [0, 1] of `layers` [C, 4 or 7, H, W] over `backgrounds` [C, 3].

    The channels of normals are in world axes. Backgrounds do not blend into them; pixels without an object have 0.5.
    """
    colors = layers[:, :3] + (1 - layers[:, 3:4]) * backgrounds[..., None, None]
    return torch.cat([colors, normal_images(layers[:, 4:])], 1)


def to_bytes(layers: Tensor) -> Tensor:
    """`layers` as uint8; a component n of a normal is stored as 128 + 127 n, so that 0 is exact."""
    return torch.cat([(layers[..., :4] * 255).round(), (layers[..., 4:] * 127).round() + 128], -1).byte()


def from_bytes(pictures: Tensor) -> Tensor:
    """The inverse of `to_bytes`, up to its rounding."""
    return torch.cat([pictures[..., :4] / 255, (pictures[..., 4:] - 128.0) / 127], -1)
