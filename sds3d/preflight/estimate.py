"""What a run needs before it starts: memory of the GPU and of the host, by its real networks without their weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from sds3d.config.schema import Config, NFSDConfig, PriorConfig, StageConfig, VSDConfig
from sds3d.preflight.peak_memory import PeakMemory, fused_attention
from sds3d.priors.blueprint import META, Blueprint, bytes_of
from sds3d.priors.kinds import kind_of

GIB = 2**30
CONTEXT = GIB // 2  # what CUDA and the libraries on it take before the first tensor
MARGIN = 0.15  # of the rest: workspaces of convolutions, and memory that the allocator cannot use
HOST = {"cpu": 1.2 * GIB, "cuda": 2.5 * GIB}  # Python and libraries; meshing and baking; docs/benchmarks.md
# Bytes a splat: 14 numbers, their gradients, both moments of Adam, what a rasterizer draws, and densification's two.
SPLAT = 4 * (5 * 14 + 2)
# Bytes a splat and view: record, radius, moments of the gradients, and four entries of tile lists, half of them spare.
SPLAT_VIEW = 32 + 4 + 40 + 8 * 6
# Bytes a pixel: colours, alphas and depths, their gradients and those of the regularisers, and the rasterizer's state.
PIXEL = 4 * (5 + 5 + 8 + 2)
PRIOR_PIXEL = 4 * 9  # of the images that the prior sees: resized, scaled, and their gradient


@dataclass(frozen=True)
class StageEstimate:
    """What a stage needs on its device, in bytes by what for."""

    name: str
    prior: str
    steps: int
    prior_calls: int
    num_images: int  # that a prior call sees
    parts: dict[str, int]
    needed: int  # all parts that are there at once

    @property
    def with_margin(self) -> int:
        """What is safe."""
        context = self.parts["context"]
        return context + round((self.needed - context) * (1 + MARGIN))


@dataclass(frozen=True)
class Estimate:
    """What a run needs."""

    stages: tuple[StageEstimate, ...]
    host: int  # bytes of the host's memory

    @property
    def largest(self) -> StageEstimate:
        """The stage that needs most on its device."""
        return max(self.stages, key=lambda stage: stage.needed)


@dataclass(frozen=True)
class GpuMemory:
    """The first GPU, and what of its memory this process may still take, in bytes."""

    name: str
    free: int


def gpu_memory() -> GpuMemory:
    """Asks CUDA, which takes its own memory first."""
    free, _ = torch.cuda.mem_get_info()
    return GpuMemory(torch.cuda.get_device_name(), free)


def estimate(cfg: Config, device_type: str) -> Estimate:
    """What a run of `cfg` needs on a "cuda" or "cpu" device; UserError if one of its priors is neither here nor known.

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
        scene = cfg.representation.max_gaussians
        parts = {
            "context": CONTEXT if device_type == "cuda" else 0,
            "network": bytes_of(blueprint.network),
            "autoencoder": bytes_of(blueprint.autoencoder),
            "text encoder": blueprint.text_bytes,
            "network call": call(prior, images * num_texts(prior, stage)),
            "learning": learn(prior, images) if isinstance(stage.estimator, VSDConfig) else 0,
            "encoder call": encode(prior, images),
            "Gaussians": scene * (SPLAT + SPLAT_VIEW * images),
            "renders": images * (PIXEL * stage.resolution**2 + PRIOR_PIXEL * blueprint.resolution**2),
        }
        calls = -(-stage.steps // stage.prior_every)
        needed = together(parts, device_type)
        stages.append(StageEstimate(stage.name, label(prior), stage.steps, calls, images, parts, needed))
        weights = max(weights, *(parts[name] for name in ("network", "autoencoder", "text encoder")))
    # On a GPU, weights pass through the host one model at a time.
    device = max(stage.needed for stage in stages) if device_type == "cpu" else weights
    return Estimate(tuple(stages), round(HOST[device_type]) + device)


def together(parts: dict[str, int], device_type: str) -> int:
    """Bytes that are there at once: the text encoder is let go of before the first step.

    A recorded CUDA graph keeps its memory, so calls add up on a GPU and share theirs on a CPU.
    """
    calls = (parts["network call"], parts["learning"], parts["encoder call"])
    stepping = (sum(calls) if device_type == "cuda" else max(calls)) + parts["Gaussians"] + parts["renders"]
    return parts["context"] + parts["network"] + parts["autoencoder"] + max(parts["text encoder"], stepping)


def call_bytes(blueprint: Blueprint, count: int) -> int:
    """The most that the network needs at once beside its weights, for `count` noisy latents."""
    with PeakMemory() as memory, fused_attention(), torch.no_grad():
        blueprint.predict(_latents(blueprint, count))
    return memory.peak


def learning_bytes(blueprint: Blueprint, count: int) -> int:
    """The same with all that is kept for a gradient; the low-rank corrections themselves are small."""
    with PeakMemory() as memory, fused_attention():
        blueprint.predict(_latents(blueprint, count).requires_grad_()).sum().backward()
    return memory.peak


def encoding_bytes(blueprint: Blueprint, count: int) -> int:
    """The most that encoding `count` images and the way back need at once beside the weights."""
    size = blueprint.resolution
    with PeakMemory() as memory, fused_attention():
        images = torch.empty(count, 3, size, size, device=META, requires_grad=True)
        blueprint.encode(images).sum().backward()
    return memory.peak


def num_texts(prior: PriorConfig, stage: StageConfig) -> int:
    """How often a prior call sees each image: once a text, and twice more for the sides that it keeps away from."""
    return (3 if isinstance(stage.estimator, NFSDConfig) else 2) + kind_of(prior).extra_rows


def label(prior: PriorConfig) -> str:
    """How to call a prior in a line of text."""
    return prior.path or prior.kind


def _latents(blueprint: Blueprint, count: int) -> torch.Tensor:
    return torch.empty(count, *blueprint.latents, device=META).contiguous(memory_format=torch.channels_last)
