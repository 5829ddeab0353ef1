"""The scene that a config names: a representation with its renderer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import assert_never

import torch

from sds3d.config.schema import Config, GaussiansConfig
from sds3d.interfaces import Scene
from sds3d.renderers import resolve_backend
from sds3d.representations.gaussians.memory import gaussians_bytes


@dataclass(frozen=True)
class SceneKind:
    """A configured scene, and what is known of it before it is built."""

    build: Callable[[torch.Generator, torch.device], Scene]  # untrained, its random start from a CPU generator
    peak_bytes: Callable[[int], int]  # at most, with optimizer and renderer, for so many images at once


def scene_of(cfg: Config) -> SceneKind:
    """The scene that `cfg` describes."""
    match cfg.representation:
        case GaussiansConfig():
            return SceneKind(partial(_splat_scene, cfg), partial(gaussians_bytes, cfg.representation))
        case _:
            assert_never(cfg.representation)


def build_scene(cfg: Config, generator: torch.Generator, device: torch.device) -> Scene:
    """An untrained scene on `device`, its random start from the CPU generator `generator`."""
    return scene_of(cfg).build(generator, device)


def _splat_scene(cfg: Config, generator: torch.Generator, device: torch.device) -> Scene:
    from sds3d.renderers.splat_scene import SplatScene
    from sds3d.representations.gaussians.splats import Gaussians

    total_steps = sum(stage.steps for stage in cfg.stages)
    gaussians = Gaussians.random_ball(cfg.representation, generator)
    if device.type == "cuda" and resolve_backend(cfg.renderer.backend, device) == "native":
        from sds3d.renderers.splat_fused import FusedSplatScene

        return FusedSplatScene(gaussians, cfg.renderer, total_steps, device)
    return SplatScene(gaussians, cfg.renderer, total_steps, device)
