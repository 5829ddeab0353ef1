"""Optimiser steps, one launch after the other: on any device, with any renderer, prior and estimator."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

from torch import Generator, Tensor

from sds3d.adam import Adam
from sds3d.cameras import Cameras
from sds3d.config.schema import Config, NFSDConfig, StageConfig
from sds3d.distillation import build_estimator
from sds3d.interfaces import Condition, Estimator, Prior, Renderer
from sds3d.optimization.losses import distillation_loss, regularization
from sds3d.optimization.targets import find_target, shown
from sds3d.renderers import build_renderer
from sds3d.representations.gaussians.splats import Gaussians


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
    rate: float = 1.0  # factor of all learning rates
    level: float = 0.0  # fraction of T that the first of the timesteps is, for the log


class Outcome(NamedTuple):
    """What became of a block."""

    loss: float  # the distillation loss of its last step; nan if the target was not all numbers: then nothing moved
    intact: bool  # whether the scene is still made of numbers


class Surface:
    """A scene whose splats move and turn, and nothing else: what normals, the slopes of its depths, have to say.

    By growing and by gaining opacity splats smooth a surface, too; with each step it would come to lie further out.
    """

    def __init__(self, scene: Gaussians) -> None:
        self.scene = scene

    def activated(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        means, quats, *others = self.scene.activated()
        return means, quats, *(x.detach() for x in others)


class Steps:
    """Moves `scene` by the gradients of what it sees."""

    def __init__(self, cfg: Config, scene: Gaussians, renderer: Renderer, prior: Prior, optimizer: Adam) -> None:
        self.cfg, self.scene, self.renderer, self.prior, self.optimizer = cfg, scene, renderer, prior, optimizer
        self.text = prior.encode_prompt(cfg.prompt)
        self.negative_text = prior.encode_prompt(cfg.negative_prompt, negative=True)
        if any(isinstance(stage.estimator, NFSDConfig) for stage in cfg.stages):
            prior.encode_prompt("")  # before a text encoder is let go of
        self.total_steps = sum(stage.steps for stage in cfg.stages)
        self.estimators: dict[str, Estimator] = {}  # of each stage by its name; one may have learnt something

    def start(self, stage: StageConfig, block: Block, inputs: Inputs) -> None:
        """Takes the steps of `block`, or hands them to the GPU; `finish` says what became of them."""
        self.outcome = Outcome(math.nan, True)
        for step in range(block.step, block.step + block.length):
            rates = self.scene.learning_rates(step / self.total_steps)
            set_learning_rates(self.optimizer, rates, stage, inputs.rate)
            render = self.renderer(inputs.cameras, inputs.backgrounds)
            if self.prior.normals:
                render = replace(render, depths=self.surface(inputs.cameras, inputs.backgrounds).depths)
            images = shown(self.prior, render, inputs.cameras)
            if step == block.step:
                estimate = partial(self._estimate, stage, inputs)
                target = find_target(self.prior, images, estimate, lasting=block.length > 1)
                if not target.is_finite():
                    return
            distance = distillation_loss(images, target)
            loss = distance + regularization(render, self.scene.log_scales.exp(), stage.loss)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if stage.trains == "all":
                self.scene.update(step, self.optimizer, render)
        self.outcome = Outcome(distance.item(), bool(self.scene.is_finite()))

    def finish(self) -> Outcome:
        """What became of the block that was started last; waits for the GPU."""
        return self.outcome

    def close(self) -> None:
        """Lets go of the prior and all that belongs to it; these steps are over."""
        self.prior = None
        self.estimators.clear()

    @cached_property
    def surface(self) -> Renderer:
        """Draws the scene for the depths that a prior's normals are compared with."""
        return build_renderer(self.cfg.renderer, Surface(self.scene), self.scene.means.device)

    def estimator(self, stage: StageConfig) -> Estimator:
        """The one that this stage keeps from its first step to its last."""
        if stage.name not in self.estimators:
            self.estimators[stage.name] = build_estimator(stage.estimator)
        return self.estimators[stage.name]

    def _estimate(self, stage: StageConfig, inputs: Inputs, latents: Tensor) -> Tensor:
        condition = Condition(self.text, self.negative_text, inputs.cameras, inputs.backgrounds)
        return self.estimator(stage)(self.prior, latents, inputs.timesteps, condition, inputs.generator)


def set_learning_rates(optimizer: Adam, rates: dict[str, float], stage: StageConfig, factor: float) -> None:
    """Each group's own of `rates`, times `factor`; 0 for what the stage does not train."""
    for group in optimizer.param_groups:
        trained = stage.trains == "all" or group["name"] == "logit_colors"
        rate = factor * rates[group["name"]] if trained else 0.0
        if not isinstance(group["lr"], Tensor):
            group["lr"] = rate
        elif group.get("rate") != rate:
            group["rate"] = rate
            group["lr"].fill_(rate)  # where a recorded step reads it
