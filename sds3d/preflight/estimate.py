"""Estimates the GPU and host memory of a run from its real networks, without their weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from sds3d.config.schema import Config, PriorConfig, StageConfig
from sds3d.distillation import kind_of as estimator_of
from sds3d.distillation.calls import Calls
from sds3d.preflight.finishing import finishing_parts
from sds3d.preflight.peak_memory import PeakMemory, fused_attention
from sds3d.priors.blueprint import META, Blueprint, bytes_of
from sds3d.priors.kinds import kind_of
from sds3d.renderers.scenes import scene_of

GIB = 2**30
CONTEXT = GIB // 2  # allocated by CUDA and its libraries before the first tensor
MARGIN = 0.15  # of the rest: workspaces of convolutions, and memory that the allocator cannot use
LEVELS = 1000  # timesteps of every known prior
HOST = {"cpu": 0.85 * GIB, "cuda": 2.3 * GIB}  # Python and its libraries, and what its allocator does not give back
# Bytes a pixel: colors, alphas and depths, their gradients and those of the regularizers, and the rasterizer's state.
PIXEL = 4 * (5 + 5 + 8 + 2)
PRIOR_PIXEL = 4 * 9  # of the images that the prior sees: resized, scaled, and their gradient


@dataclass(frozen=True)
class StageEstimate:
    """The memory of a stage on its device, in bytes by purpose."""

    name: str
    prior: str
    steps: int
    targets: int  # each serves `prior_every` steps
    network_calls: int  # for all targets; at most, where an estimator calls less often at less noise
    num_images: int  # of a target
    rows: int  # of the largest network call: its images, each under several texts
    parts: dict[str, int]
    needed: int  # peak: all parts that are allocated at once

    @property
    def with_margin(self) -> int:
        """Bytes including the safety margin."""
        context = self.parts["context"]
        return context + round((self.needed - context) * (1 + MARGIN))


@dataclass(frozen=True)
class Estimate:
    """The memory of a run."""

    stages: tuple[StageEstimate, ...]
    host: int  # bytes of the host's memory
    finishing: int  # peak bytes of the steps after the optimization, on the host or a GPU

    @property
    def largest(self) -> StageEstimate:
        """The stage that needs the most device memory."""
        return max(self.stages, key=lambda stage: stage.needed)


@dataclass(frozen=True)
class GpuMemory:
    """The first GPU, and the bytes of its memory that this process can still allocate."""

    name: str
    free: int


def gpu_memory() -> GpuMemory:
    """Queries CUDA, which allocates its own context first."""
    free, _ = torch.cuda.mem_get_info()
    return GpuMemory(torch.cuda.get_device_name(), free)


def estimate(cfg: Config, device_type: str) -> Estimate:
    """What a run of `cfg` needs on a "cuda" or "cpu" device; UserError if a prior is neither installed nor known.

    One prior is on the device at a time.
    """
    draw = cache(lambda prior: kind_of(prior).blueprint(device_type))
    call = cache(lambda prior, count: call_bytes(draw(prior), count))
    learn = cache(lambda prior, count: learning_bytes(draw(prior), count))
    encode = cache(lambda prior, count: encoding_bytes(draw(prior), count))
    stages, weights = [], 0
    for stage in cfg.stages:
        prior = cfg.prior_of(stage)
        blueprint = draw(prior)
        images = stage.num_orbits * blueprint.num_views
        rows = images * num_texts(prior, stage)
        calls = calls_of(stage)
        parts = {
            "context": CONTEXT if device_type == "cuda" else 0,
            "network": bytes_of(blueprint.network),
            "autoencoder": bytes_of(blueprint.autoencoder),
            "text encoder": blueprint.text_bytes,
            "network call": call(prior, rows),
            "learning": learn(prior, images) if calls[0].learns else 0,
            "encoder call": encode(prior, images),
            "scene": scene_of(cfg).peak_bytes(images),
            "renders": images * (PIXEL * stage.resolution**2 + PRIOR_PIXEL * blueprint.resolution**2),
        }
        total, needed = sum(each.count for each in calls), together(parts, device_type)
        stages.append(
            StageEstimate(stage.name, label(prior), stage.steps, len(calls), total, images, rows, parts, needed)
        )
        weights = max(weights, *(parts[name] for name in ("network", "autoencoder", "text encoder")))
    # On a GPU, weights pass through the host one model at a time; the grid is smoothed and meshed on the host.
    device = max(stage.needed for stage in stages) if device_type == "cpu" else weights
    finishing = finishing_parts(cfg)
    host = round(HOST[device_type]) + max(device, *finishing.values())
    on_device = max(size for key, size in finishing.items() if key != "mesh.grid" or device_type == "cpu")
    return Estimate(tuple(stages), host, on_device)


def together(parts: dict[str, int], device_type: str) -> int:
    """Bytes that are allocated at once: the text encoder is freed before the first step.

    A recorded CUDA graph keeps its memory, so calls add up on a GPU and share theirs on a CPU.
    """
    calls = (parts["network call"], parts["learning"], parts["encoder call"])
    stepping = (sum(calls) if device_type == "cuda" else max(calls)) + parts["scene"] + parts["renders"]
    return parts["context"] + parts["network"] + parts["autoencoder"] + max(parts["text encoder"], stepping)


def call_bytes(blueprint: Blueprint, count: int) -> int:
    """Peak bytes of a network call beside its weights, for `count` noisy latents."""
    with PeakMemory() as memory, fused_attention(), torch.no_grad():
        blueprint.predict(_latents(blueprint, count))
    return memory.peak


def learning_bytes(blueprint: Blueprint, count: int) -> int:
    """The same including the activations kept for a gradient; the low-rank corrections themselves are small."""
    with PeakMemory() as memory, fused_attention():
        blueprint.predict(_latents(blueprint, count).requires_grad_()).sum().backward()
    return memory.peak


def encoding_bytes(blueprint: Blueprint, count: int) -> int:
    """Peak bytes of encoding `count` images and its backward pass, beside the weights."""
    size = blueprint.resolution
    with PeakMemory() as memory, fused_attention():
        images = torch.empty(count, 3, size, size, device=META, requires_grad=True)
        blueprint.encode(images).sum().backward()
    return memory.peak


def calls_of(stage: StageConfig) -> list[Calls]:
    """The calls of the network for each target of `stage`, at the highest noise level that may be sampled for it."""
    found = []
    for step in range(0, stage.steps, stage.prior_every):
        timestep = min(max(int(stage.t_max.at(step / stage.steps) * LEVELS), 1), LEVELS - 1)
        found.append(estimator_of(stage.estimator).calls(timestep, LEVELS))
    return found


def num_texts(prior: PriorConfig, stage: StageConfig) -> int:
    """How often the largest network call sees each image: once a text, and more often with Perp-Neg."""
    return max(calls.texts for calls in calls_of(stage)) + kind_of(prior).extra_rows


def label(prior: PriorConfig) -> str:
    """The name of a prior in a line of text."""
    return prior.path or prior.kind


def _latents(blueprint: Blueprint, count: int) -> torch.Tensor:
    return torch.empty(count, *blueprint.latents, device=META).contiguous(memory_format=torch.channels_last)
