"""An optimizer step: render, ask the prior for a better image, move the scene towards it.

`Steps` launches one operation after the other, on any device, with any scene, prior and estimator; recorded.py replays
the same steps as CUDA graphs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from torch import Tensor

from sds3d.adam import Adam
from sds3d.cameras import Cameras
from sds3d.config.schema import Config, LossConfig, StageConfig
from sds3d.distillation import build_estimator
from sds3d.interfaces import Condition, Estimator, Prior, Prompts, Render, Scene
from sds3d.optimization.inputs import Block, Inputs
from sds3d.optimization.losses import distillation_loss, regularization
from sds3d.optimization.targets import Target, find_target, shown


class Outcome(NamedTuple):
    """The outcome of a block."""

    loss: float  # the distillation loss of its last step; nan where the target was not finite
    target_is_finite: bool  # if not, nothing moved
    scene_is_finite: bool


def objective(prior: Prior, render: Render, cameras: Cameras, target: Target, cfg: LossConfig) -> tuple[Tensor, Tensor]:
    """The distillation loss [] of a render, and the same plus the regularizers of its images."""
    distance = distillation_loss(shown(prior, render, cameras), target)
    return distance, distance + regularization(render, cfg)


class Steps:
    """Takes optimizer steps for `scene`, one operation after the other."""

    def __init__(self, cfg: Config, scene: Scene, prior: Prior, optimizer: Adam) -> None:
        self.scene, self.optimizer = scene, optimizer
        self.prior: Prior = prior
        self.prompts = Prompts(
            prior.encode_prompt(cfg.prompt), prior.encode_prompt(cfg.negative_prompt, True), prior.encode_prompt("")
        )
        self.total_steps = sum(stage.steps for stage in cfg.stages)
        self.estimators: dict[str, Estimator] = {}  # by the name of their stage; one may have learned something

    def start(self, stage: StageConfig, block: Block, inputs: Inputs) -> None:
        """Takes the steps of `block`, or hands them to the GPU; `finish` returns the outcome."""
        self.outcome = Outcome(math.nan, False, True)
        for step in range(block.step, block.step + block.length):
            self.set_learning_rates(stage, step, inputs.rate)
            render = self.render(inputs)
            if step == block.step:
                target = self.find_target(stage, inputs, render, lasting=block.length > 1)
                if not target.is_finite():
                    return
            distance, loss = objective(self.prior, render, inputs.cameras, target, stage.loss)
            self.optimizer.zero_grad()
            (loss + self.scene.regularization(stage.loss)).backward()
            self.optimizer.step()
            if stage.trains == "all":
                self.scene.update(step, self.optimizer, render)
        self.outcome = Outcome(distance.item(), True, bool(self.scene.is_finite()))

    def finish(self) -> Outcome:
        """The outcome of the block that was started last; waits for the GPU."""
        return self.outcome

    def close(self) -> None:
        """Releases the prior and all that belongs to it; these steps are over."""
        del self.prior
        self.estimators.clear()

    def render(self, inputs: Inputs) -> Render:
        """A render of the scene. For a prior with normals, its depths have gradients of the surface only."""
        render = self.scene.render(inputs.cameras, inputs.backgrounds)
        if not self.prior.normals:
            return render
        return replace(render, depths=self.scene.render_surface(inputs.cameras, inputs.backgrounds).depths)

    def find_target(self, stage: StageConfig, inputs: Inputs, render: Render, lasting: bool) -> Target:
        """The target that the prior gives for `render`; see targets.find_target."""
        images = shown(self.prior, render, inputs.cameras)
        return find_target(self.prior, images, partial(self.estimate, stage, inputs), lasting)

    def estimate(self, stage: StageConfig, inputs: Inputs, latents: Tensor) -> Tensor:
        """The estimator's gradient with respect to `latents` [C, Z, h, w]."""
        condition = Condition(self.prompts, inputs.cameras, inputs.backgrounds)
        return self.estimator(stage)(self.prior, latents, inputs.timesteps, condition, inputs.generator)

    def estimator(self, stage: StageConfig) -> Estimator:
        """The one that this stage keeps from its first step to its last."""
        if stage.name not in self.estimators:
            self.estimators[stage.name] = build_estimator(stage.estimator)
        return self.estimators[stage.name]

    def set_learning_rates(self, stage: StageConfig, step: int, factor: float) -> None:
        """Those of the scene for `step`, times `factor`."""
        rates = self.scene.param_groups(stage.trains, step / self.total_steps)
        for group, current in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = factor * current["lr"]
