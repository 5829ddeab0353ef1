"""Scenes with trainable parameters."""

from __future__ import annotations

from typing import assert_never

import torch

from sds3d.config.schema import GaussiansConfig
from sds3d.representations.gaussians.splats import Gaussians


def build_representation(cfg: GaussiansConfig, total_steps: int, generator: torch.Generator) -> Gaussians:
    """The untrained scene that `cfg` names."""
    match cfg:
        case GaussiansConfig():
            return Gaussians.random_ball(cfg, total_steps, generator)
        case _:
            assert_never(cfg)
