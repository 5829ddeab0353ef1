"""Optimiser steps, one launch after the other: on any device, with any renderer, prior and estimator."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from sds3d.adam import Adam
from sds3d.cameras import Cameras
from sds3d.config import Config, StageConfig
from sds3d.distillation import build_estimator
from sds3d.interfaces import Condition, Prior, Render, Renderer
from sds3d.losses import distillation_loss, regularization
from sds3d.representations.gaussians import Gaussians


@dataclass(frozen=True)
class Block:
    """`length` optimiser steps that share one prior call; `step` is the first of them, counted over all stages."""

    stage_index: int
    step: int
    length: int
    progress: float  # through the stage, [0, 1)


@dataclass(frozen=True)
class Inputs:
    """What a block draws at random."""

    cameras: Cameras
    backgrounds: Tensor  # [C, 3]
    timesteps: Tensor  # [C] long, equal within an orbit
    generator: Generator  # of the estimator, on the device


class Steps:
    """Moves `scene` by the gradients of what it sees."""

    def __init__(self, cfg: Config, scene: Gaussians, renderer: Renderer, prior: Prior, optimizer: Adam) -> None:
        self.cfg, self.scene, self.renderer, self.prior, self.optimizer = cfg, scene, renderer, prior, optimizer
        self.text = prior.encode_prompt(cfg.prompt)
        self.negative_text = prior.encode_prompt(cfg.negative_prompt, negative=True)
        self.total_steps = sum(stage.steps for stage in cfg.stages)

    def run(self, stage: StageConfig, block: Block, inputs: Inputs) -> Tensor:
        """Takes the steps of `block`; the distillation loss of the last one."""
        condition = Condition(self.text, self.negative_text, inputs.cameras, inputs.backgrounds)
        estimator = build_estimator(stage.estimator)
        for step in range(block.step, block.step + block.length):
            set_learning_rates(self.optimizer, self.cfg, step / self.total_steps)
            render = self.renderer(inputs.cameras, inputs.backgrounds)
            latents = encode(self.prior, render)
            if step == block.step:
                seen = latents.detach()
                target = seen - estimator(self.prior, seen, inputs.timesteps, condition, inputs.generator)
            distance = distillation_loss(latents, target)
            loss = distance + regularization(render, self.scene.means, self.scene.log_scales.exp(), stage.loss)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.scene.update(step, self.optimizer, render)
        return distance.detach()


def encode(prior: Prior, render: Render) -> Tensor:
    """Latents of a render, resized to what the prior expects."""
    return prior.encode_images(resize(render.colors.movedim(-1, 1), prior.resolution))


def resize(images: Tensor, size: int) -> Tensor:
    """Square `images` [..., R, R] at [..., size, size]: bilinear, antialiased.

    As two matrix products, because the gradient of F.interpolate sums in no fixed order on CUDA.
    """
    if images.shape[-1] == size:
        return images
    matrix = _resizing(images.shape[-1], size, images.device)
    return matrix @ images @ matrix.T


@cache
def _resizing(before: int, after: int, device: torch.device) -> Tensor:
    """How rows of `before` pixels become rows of `after`, [after, before]."""
    columns = torch.eye(before, device=device)[None, None]
    return F.interpolate(columns, size=(after, before), mode="bilinear", align_corners=False, antialias=True)[0, 0]


def set_learning_rates(optimizer: Adam, cfg: Config, progress: float) -> None:
    """Move the rate of the means along its ramp; the others stay."""
    for group in optimizer.param_groups:
        if group["name"] == "means":
            rate = cfg.representation.lr_means.at(progress)
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)  # where a recorded step reads it
            else:
                group["lr"] = rate
