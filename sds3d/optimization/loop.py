"""The loop: render, ask the prior what it would rather see, move the scene towards that."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch

from sds3d.adam import Adam
from sds3d.config.schema import Config, PriorConfig, StageConfig
from sds3d.errors import UserError
from sds3d.imaging.png import png, splat_row
from sds3d.interfaces import Prior, Renderer
from sds3d.native.devices import resolve_device
from sds3d.native.gc_pause import no_collection
from sds3d.optimization.checkpoint import estimator_tensors, restore, restore_estimator, state_tensors
from sds3d.optimization.guard import MAX_ROLLBACKS, Diverged, Guard
from sds3d.optimization.inputs import blocks, draw_inputs, step_generator
from sds3d.optimization.step import Block, Inputs, Steps
from sds3d.priors import build_prior
from sds3d.priors.kinds import kind_of
from sds3d.renderers import build_renderer, resolve_backend
from sds3d.representations import build_representation
from sds3d.representations.gaussians.splats import Gaussians
from sds3d.runs.folder import RunFolder


class Progress(Protocol):
    """What the loop tells of its way."""

    def start(self, total_steps: int, initial: int) -> None: ...
    def stage(self, name: str) -> None: ...
    def advance(self, step: int, **numbers: float) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass(frozen=True)
class TrainResult:
    """The scene as far as it got."""

    scene: Gaussians
    renderer: Renderer
    finished: bool
    step: int
    seconds: dict[str, float]  # wall time of loading and of each stage, earlier sessions of the run included
    guard: Guard


def train(cfg: Config, run: RunFolder, progress: Progress, stop: Callable[[], bool]) -> TrainResult:
    """Optimise a scene for `cfg.prompt`, from the newest checkpoint of `run` if it has one.

    When `stop()` becomes true, saves a checkpoint at the end of the current block and returns with finished False.
    UserError if the prior's answers are not numbers again and again.
    """
    run.forget_failure()
    priors = Priors(resolve_device(cfg.device))
    guard: Guard | None = None
    while True:
        attempt = Attempt(cfg, run, priors, guard)
        try:
            return attempt.run_blocks(progress, stop)
        except Diverged as reason:
            guard = attempt.guard
            guard.roll_back()
            if guard.rollbacks >= MAX_ROLLBACKS:
                raise give_up(run, attempt, str(reason)) from reason
            progress.note(f"step {attempt.step}: {reason}; going back, with steps {guard.rate:g} times as long")


class Priors:
    """The prior in use: stages take it up one after the other, and only one is in memory."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cfg: PriorConfig | None = None
        self.prior: Prior | None = None

    def get(self, cfg: PriorConfig) -> Prior:
        """The prior that `cfg` names, loaded unless it is the one in use."""
        if cfg != self.cfg:
            if self.prior is not None:  # its memory first, and that of what it was part of
                self.cfg = self.prior = None
                gc.collect()
            with no_collection():
                self.prior = build_prior(cfg, self.device)
            self.cfg = cfg
        return self.prior


class Attempt:
    """The way from the newest checkpoint on."""

    def __init__(self, cfg: Config, run: RunFolder, priors: Priors, guard: Guard | None) -> None:
        started = time.perf_counter()
        self.cfg, self.run, self.priors = cfg, run, priors
        device = priors.device
        self.checkpoint = checkpoint = run.load_latest()
        total_steps = sum(stage.steps for stage in cfg.stages)
        self.scene = build_representation(cfg.representation, total_steps, step_generator(cfg.seed, "init", 0))
        self.optimizer = restore(self.scene, checkpoint, device)
        self.renderer = build_renderer(cfg.renderer, self.scene, device)
        state = checkpoint.state if checkpoint else {}
        self.seconds: dict[str, float] = dict(state.get("seconds", {}))
        self.guard = guard or Guard(**state.get("guard", {}))
        self.step = checkpoint.step if checkpoint else 0
        self.stage = cfg.stages[0]
        self.steps: Steps | None = None
        self.ahead: Inputs | None = None  # of the next block
        self.spend("load", started)

    def run_blocks(self, progress: Progress, stop: Callable[[], bool]) -> TrainResult:
        """The blocks that are left."""
        cfg, total_steps = self.cfg, sum(stage.steps for stage in self.cfg.stages)
        for message in self.checkpoint.messages if self.checkpoint else ():
            progress.note(message)
        progress.start(total_steps, self.step)
        saved_step, saved_at = self.step, time.perf_counter()
        for block, following in pairwise([*blocks(cfg.stages, self.step), None]):
            stage = cfg.stages[block.stage_index]
            progress.stage(stage.name)
            self.enter(stage)
            begun = time.perf_counter()
            numbers = self.take(stage, block, following)
            progress.advance(self.step, **numbers)
            self.spend(stage.name, begun)
            stopping = stop() and self.step < total_steps
            due = (
                self.step - saved_step >= cfg.checkpoint.every_steps
                or time.perf_counter() - saved_at >= cfg.checkpoint.every_seconds
            )
            good = self.guard.in_a_row == 0  # what is gone back to must lie before the bad answers
            if (due and good) or stopping or self.step == total_steps:
                self.save(stage)
                saved_step, saved_at = self.step, time.perf_counter()
            if stopping:
                return self.result(finished=False)
        return self.result(finished=True)

    def enter(self, stage: StageConfig) -> None:
        """Take up the prior of `stage`, and the steps that use it, unless they are in use."""
        self.stage, cfg = stage, self.cfg.prior_of(stage)
        if self.steps is not None and cfg == self.priors.cfg:
            return
        begun = time.perf_counter()
        if self.steps is not None:  # their memory first
            self.steps.close()
            self.steps = None
        prior = self.priors.get(cfg)
        self.steps = build_steps(self.cfg, self.scene, self.renderer, prior, self.optimizer)
        if self.checkpoint and self.checkpoint.state.get("stage") == stage.name:
            restore_estimator(self.steps.estimator(stage), self.checkpoint)
        self.spend("load", begun)

    def take(self, stage: StageConfig, block: Block, following: Block | None) -> dict[str, float]:
        """One block; what the log says of it. While the GPU works, what the next one draws is drawn."""
        inputs = self.ahead or self.draw(block)
        self.steps.start(stage, block, inputs)
        keeps_prior = following and self.cfg.prior_of(self.cfg.stages[following.stage_index]) == self.priors.cfg
        self.ahead = self.draw(following) if keeps_prior else None
        loss, intact = self.steps.finish()
        self.step = block.step + block.length
        numbers = {"loss": loss, "gaussians": len(self.scene), "t": inputs.level}
        answered = math.isfinite(loss)
        if not answered:
            numbers = {"skipped": self.guard.skipped + 1, **numbers}
            del numbers["loss"]
        self.run.log(self.step, **numbers)
        self.guard.observe(answered, intact)
        return numbers

    def draw(self, block: Block) -> Inputs:
        """What `block` draws at random."""
        stage, prior = self.cfg.stages[block.stage_index], self.priors.prior
        return draw_inputs(self.cfg.seed, stage, block, prior, self.priors.device, self.guard)

    def save(self, stage: StageConfig) -> None:
        """A checkpoint and a preview."""
        tensors = state_tensors(self.scene, self.optimizer) | estimator_tensors(self.steps.estimator(stage))
        state = {"seconds": self.seconds, "guard": self.guard.numbers(), "stage": stage.name}
        self.run.save_checkpoint(self.step, tensors, state)
        self.run.save_preview(self.step, png(splat_row(self.renderer, self.priors.device)))

    def spend(self, name: str, begun: float) -> None:
        """Add the time since `begun` to what `name` has taken."""
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun

    def result(self, finished: bool) -> TrainResult:
        return TrainResult(self.scene, self.renderer, finished, self.step, self.seconds, self.guard)


def give_up(run: RunFolder, attempt: Attempt, reason: str) -> UserError:
    """What the user is told when going back does not help; the same is in failed.json."""
    stage = attempt.stage
    report = {"step": attempt.step, "stage": stage.name, "reason": reason, **attempt.guard.numbers()}
    run.save_failure(report)
    remedy = kind_of(attempt.cfg.prior_of(stage)).remedy
    return UserError(
        f"{run.path}: {reason}, at step {attempt.step} (stage {stage.name}), and again after each of "
        f"{MAX_ROLLBACKS - 1} returns with smaller steps; {remedy}, a lower guidance_scale or another seed; "
        "failed.json has the counts"
    )


def build_steps(cfg: Config, scene: Gaussians, renderer: Renderer, prior: Prior, optimizer: Adam) -> Steps:
    """Recorded steps where our own CUDA kernels draw and `cfg.capture` is on, else plain ones."""
    device = scene.means.device
    if cfg.capture and device.type == "cuda" and resolve_backend(cfg.renderer.backend, device) == "native":
        from sds3d.optimization.recorded import CapturedSteps

        return CapturedSteps(cfg, scene, renderer, prior, optimizer)
    return Steps(cfg, scene, renderer, prior, optimizer)
