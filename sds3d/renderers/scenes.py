"""The scene that a config names: a representation with its renderer."""

from __future__ import annotations

from typing import assert_never

import torch

from sds3d.config.schema import Config, GaussiansConfig
from sds3d.interfaces import Scene


def build_scene(cfg: Config, generator: torch.Generator, device: torch.device) -> Scene:
    """An untrained scene on `device`, its random start from the CPU generator `generator`."""
    total_steps = sum(stage.steps for stage in cfg.stages)
    match cfg.representation:
        case GaussiansConfig():
            from sds3d.renderers import resolve_backend
            from sds3d.renderers.splat_scene import SplatScene
            from sds3d.representations.gaussians.splats import Gaussians

            gaussians = Gaussians.random_ball(cfg.representation, generator)
            if device.type == "cuda" and resolve_backend(cfg.renderer.backend, device) == "native":
                from sds3d.renderers.splat_fused import FusedSplatScene

                return FusedSplatScene(gaussians, cfg.renderer, total_steps, device)
            return SplatScene(gaussians, cfg.renderer, total_steps, device)
        case _:
            assert_never(cfg.representation)
