"""What a run samples at random: it depends on (seed, stage, step) only, so that a resumed run samples the same."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sds3d.cameras import Cameras, sample_orbits
from sds3d.config.schema import StageConfig
from sds3d.interfaces import Prior
from sds3d.optimization.guard import Guard


@dataclass(frozen=True)
class Block:
    """`length` optimizer steps that share one target; `step` is the first of them, counted over all stages."""

    stage_index: int
    step: int
    length: int
    progress: float  # through the stage, [0, 1)


@dataclass(frozen=True)
class Inputs:
    """What a block samples at random."""

    cameras: Cameras
    backgrounds: Tensor  # [C, 3]
    timesteps: Tensor  # [C] long, equal within an orbit
    generator: Generator  # of the estimator, on the device
    rate: float = 1.0  # factor of all learning rates
    fraction_of_T: float = 0.0  # noise level of the first orbit, for the log


def count_blocks(stage: StageConfig) -> int:
    """The number of blocks of `stage`, each of which has its own target."""
    return math.ceil(stage.steps / stage.prior_every)


def blocks(stages: tuple[StageConfig, ...], first_step: int) -> Iterator[Block]:
    """The blocks of all stages from `first_step` on, which is the first step of a block or the end."""
    begin = 0
    for index, stage in enumerate(stages):
        for offset in range(0, stage.steps, stage.prior_every):
            if begin + offset >= first_step:
                length = min(stage.prior_every, stage.steps - offset)
                yield Block(index, begin + offset, length, offset / stage.steps)
        begin += stage.steps


def sample_inputs(
    seed: int, stage: StageConfig, block: Block, prior: Prior, device: torch.device, guard: Guard | None = None
) -> Inputs:
    """The views, backgrounds, timesteps and noise of `block`; others after each rollback that `guard` counts."""
    rollbacks = guard.rollbacks if guard else 0
    generator = step_generator(seed, f"{stage.name}/{rollbacks}" if rollbacks else stage.name, block.step)
    cameras = sample_orbits(
        stage.num_orbits, prior.num_views, stage.resolution,
        stage.cameras.elevation_deg, stage.cameras.distance, stage.cameras.fov_deg, generator, stage.cameras.zoom,
        stage.cameras.elevations,
    )  # fmt: skip
    backgrounds = torch.rand(stage.num_orbits, 3, generator=generator).repeat_interleave(prior.num_views, 0)
    timesteps = sample_timesteps(stage, prior, block.progress, generator)
    fraction_of_T = timesteps[0].item() / len(prior.alphas_cumprod)
    if device.type == "cuda":  # noise is sampled where it is used
        generator = torch.Generator(device).manual_seed(generator.initial_seed())
    rate = guard.rate if guard else 1.0
    return Inputs(cameras.to(device), backgrounds.to(device), timesteps.to(device), generator, rate, fraction_of_T)


def step_generator(seed: int, stage: str, step: int) -> Generator:
    """A CPU generator that depends on its arguments only, so a resumed run samples what an uninterrupted one does."""
    digest = hashlib.sha256(f"{seed}/{stage}/{step}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def sample_timesteps(stage: StageConfig, prior: Prior, progress: float, generator: Generator) -> Tensor:
    """One timestep for each orbit, repeated for its views, [num_orbits * num_views] long; uniform between the ramps."""
    low, high = stage.t_min.at(progress), stage.t_max.at(progress)
    fractions = low + (high - low) * torch.rand(stage.num_orbits, generator=generator)
    count = len(prior.alphas_cumprod)
    return (fractions * count).long().clamp(1, count - 1).repeat_interleave(prior.num_views)
