"""The judge's training data: procedural objects and captions, with variations that the prior never sees.

They differ from the prior's in seeds; direction, strength, contrast and tint of the light; backgrounds, which have two
colors; distances, fields of view and elevations; blur and noise; and captions, where held-out words replace trained
ones.
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from sds3d.cameras import Cameras, sample_orbits
from sds3d.evaluation.letters import pieces
from sds3d.evaluation.towers import RESOLUTION
from sds3d.procedural.objects import sample_object
from sds3d.procedural.objects.held_out import bare, holds_held_out
from sds3d.procedural.objects.wordings import SYNONYMS, reword
from sds3d.procedural.parts import CENTER, ROTATION, Part, pack
from sds3d.procedural.tracer import trace

ELEVATION_DEG, DISTANCE, FOV_DEG = (-25.0, 65.0), (2.5, 3.3), (36.0, 44.0)
REWORDED = 0.5  # share of captions in held-out words where they have one
TILT_DEG = 35.0  # of the light, at most
GAIN, GAMMA, TINT = (0.75, 1.25), (0.75, 1.35), 0.06  # the tint is small, so that colors keep their names
NOISE = 0.04  # standard deviation at most


class Batch(NamedTuple):
    """One training step: B objects, each with one view and one caption."""

    parts: Tensor  # [B, MAX_PARTS, NUM_COLUMNS], rotated under the light
    viewmats: Tensor  # [B, 4, 4], rotated in the same way
    Ks: Tensor  # [B, 3, 3]
    light: Tensor  # [B, 5]: gain, gamma, tint in red, green and blue
    backgrounds: Tensor  # [B, 2, 3] in [0, 1], the colors at two opposite ends of the picture
    directions: Tensor  # [B] radians, from the first end to the second
    blur: Tensor  # [B] in [0, 1]
    noise: Tensor  # [B] standard deviation
    ids: Tensor  # [B, MAX_WORDS, MAX_PIECES] long
    captions: Tensor  # [B] long, equal for equal captions

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`; from pinned memory the copy is asynchronous."""
        return Batch(*(x.to(device, non_blocking=True) for x in self))


class JudgedObjects(Dataset):
    """The judge's batches; batch k depends only on (seed, k), so any number of loaders gives the same run."""

    def __init__(self, seed: int, batch: int, steps: range) -> None:
        self.seed, self.batch, self.steps = seed, batch, steps

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Batch:
        rng = random.Random(f"judge/{self.seed}/{self.steps[index]}")
        generator = torch.Generator().manual_seed(rng.getrandbits(62))
        parts, captions = [], []
        for _ in range(self.batch):
            solids, caption = _sample(rng)
            parts.append(torch.from_numpy(pack(solids)))
            captions.append(caption)
        cameras = sample_orbits(self.batch, 1, RESOLUTION, ELEVATION_DEG, DISTANCE, FOV_DEG, generator)
        rotations = random_turns(self.batch, generator)
        turned, viewmats = turn(torch.stack(parts), cameras.viewmats, rotations)
        numbers: dict[str, int] = {}

        def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
            return low + (high - low) * torch.rand(shape, generator=generator)

        tint = uniform(self.batch, 3, low=1 - TINT, high=1 + TINT)
        ends = uniform(self.batch, 2, 3)
        ends[:, 1] = torch.where(
            uniform(self.batch, 1) < 0.5, ends[:, 0], ends[:, 1]
        )  # half of the backgrounds are plain
        return Batch(
            parts=turned,
            viewmats=viewmats,
            Ks=cameras.Ks,
            light=torch.cat(
                [
                    uniform(self.batch, 1, low=GAIN[0], high=GAIN[1]),
                    uniform(self.batch, 1, low=GAMMA[0], high=GAMMA[1]),
                    tint,
                ],
                1,
            ),
            backgrounds=ends,
            directions=uniform(self.batch, high=2 * math.pi),
            blur=uniform(self.batch),
            noise=uniform(self.batch, high=NOISE),
            ids=pieces(captions),
            captions=torch.tensor([numbers.setdefault(bare(caption), len(numbers)) for caption in captions]),
        )


def _sample(rng: random.Random) -> tuple[list[Part], str]:
    """The parts of an object and a caption of it that contains no caption of the pool."""
    while True:
        parts, (caption,) = sample_object(rng, num_captions=1)
        if rng.random() < REWORDED:
            caption = reword(caption, SYNONYMS)
        if not holds_held_out(caption):
            return parts, caption


def random_turns(count: int, generator: torch.Generator) -> Tensor:
    """Rotations [count, 3, 3]: any angle about the vertical, then at most TILT_DEG about a horizontal axis."""
    about, axis, tilt = torch.rand(3, count, generator=generator)
    about, axis, tilt = 2 * math.pi * about, 2 * math.pi * axis, math.radians(TILT_DEG) * tilt
    return _about_z(axis) @ _about_x(tilt) @ _about_z(about - axis)


def _about_z(angles: Tensor) -> Tensor:
    cos, sin, zero, one = angles.cos(), angles.sin(), torch.zeros_like(angles), torch.ones_like(angles)
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], -1).unflatten(-1, (3, 3))


def _about_x(angles: Tensor) -> Tensor:
    cos, sin, zero, one = angles.cos(), angles.sin(), torch.zeros_like(angles), torch.ones_like(angles)
    return torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], -1).unflatten(-1, (3, 3))


def turn(parts: Tensor, viewmats: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
    """Packed `parts` [B, MAX_PARTS, K] and their cameras [B, 4, 4], both rotated by `rotations` [B, 3, 3].

    Each camera sees the same side of the object; only the light, which the tracer keeps fixed, comes from another side.
    """
    parts, viewmats = parts.clone(), viewmats.clone()
    parts[..., CENTER] = parts[..., CENTER] @ rotations.transpose(1, 2)
    parts[..., ROTATION] = (rotations[:, None] @ parts[..., ROTATION].unflatten(-1, (3, 3))).flatten(2)
    viewmats[:, :3, :3] = viewmats[:, :3, :3] @ rotations.transpose(1, 2)
    return parts, viewmats


def render_batch(batch: Batch, generator: torch.Generator, rays: int) -> Tensor:
    """Pictures [B, 3, RESOLUTION, RESOLUTION] in [0, 1]; `rays` squared rays per pixel, noise from `generator`."""
    cameras = Cameras(batch.viewmats, batch.Ks, RESOLUTION, RESOLUTION)
    rgba = trace(batch.parts, cameras, rays).flatten(0, 1).movedim(-1, 1)
    alphas = rgba[:, 3:]
    colors = relight(rgba[:, :3] / alphas.clamp(min=1e-6), batch.light)
    images = alphas * colors + (1 - alphas) * gradients(batch.backgrounds, batch.directions)
    images = torch.lerp(images, _blurred(images), batch.blur[:, None, None, None])
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    return (images + batch.noise[:, None, None, None] * noise).clamp(0, 1)


def relight(colors: Tensor, light: Tensor) -> Tensor:
    """`colors` [B, 3, H, W] in [0, 1] under other `light` [B, 5]: (gain tint color)^gamma."""
    gain, gamma, tint = (x[..., None, None] for x in light.split([1, 1, 3], 1))
    return (gain * tint * colors).clamp(0, 1) ** gamma


def gradients(ends: Tensor, directions: Tensor) -> Tensor:
    """Linear color gradients [B, 3, RESOLUTION, RESOLUTION] between the `ends` [B, 2, 3] along `directions` [B]."""
    places = torch.linspace(-1, 1, RESOLUTION, device=ends.device) / math.sqrt(2)
    along = directions.cos()[:, None, None] * places + directions.sin()[:, None, None] * places[:, None]
    return torch.lerp(ends[:, 0, :, None, None], ends[:, 1, :, None, None], (along[:, None] + 1) / 2)


def _blurred(images: Tensor) -> Tensor:
    """Images under a binomial filter of 5 pixels, with replicated borders."""
    weights = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=images.device) / 16
    flat = F.pad(images, (2, 2, 2, 2), mode="replicate").flatten(0, 1)[:, None]
    flat = F.conv2d(F.conv2d(flat, weights.view(1, 1, 1, 5)), weights.view(1, 1, 5, 1))
    return flat[:, 0].unflatten(0, images.shape[:2])
