"""The loop over all blocks of a run: sample inputs, take their steps (step.py), log, save, go back when it diverges."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch

from sds3d.adam import Adam
from sds3d.config.schema import Config, StageConfig
from sds3d.errors import UserError, lacking_memory, memory_for
from sds3d.imaging.png import png, render_row
from sds3d.interfaces import FusedScene, Prior, Scene
from sds3d.optimization.checkpoint import check_state, collect, restore
from sds3d.optimization.guard import MAX_ROLLBACKS, Diverged, Guard
from sds3d.optimization.inputs import Block, Inputs, blocks, count_blocks, sample_inputs, step_generator
from sds3d.optimization.step import Steps
from sds3d.optimization.threads import use_threads
from sds3d.priors.cache import Priors
from sds3d.priors.kinds import nonfinite_remedy
from sds3d.renderers.scenes import build_scene
from sds3d.runs.folder import RunFolder


class Observer(Protocol):
    """Follows a run: a progress bar, a log, a live viewer."""

    def start(self, total_steps: int, initial: int) -> None:
        """The run goes on from step `initial`."""
        ...

    def stage(self, name: str) -> None:
        """The next blocks belong to this stage; repeated for each block."""
        ...

    def advance(self, step: int, **numbers: float) -> None:
        """The run has taken `step` steps; `numbers` describe the last block."""
        ...

    def on_block(self, step: int, scene: Scene) -> None:
        """Called between blocks, when nothing moves the scene, so that it may be rendered."""
        ...

    def finishing(self) -> None:
        """All steps are taken; from here on files are written, and nobody asks whether to stop."""
        ...

    def note(self, text: str) -> None:
        """A line of text for the user."""
        ...


@dataclass(frozen=True)
class Optimized:
    """The scene as far as it got."""

    scene: Scene
    finished: bool
    step: int
    seconds: dict[str, float]  # wall time of loading and of each stage, earlier sessions of the run included
    guard: Guard
    skipped: dict[str, dict[str, int]]  # of each stage with skipped blocks: their number and that of all its blocks


def optimize(cfg: Config, run: RunFolder, priors: Priors, observer: Observer, stop: Callable[[], bool]) -> Optimized:
    """Optimizes a scene for `cfg.prompt`, from the newest checkpoint of `run` if there is one.

    When `stop()` becomes true, saves a checkpoint at the end of the current block and returns with finished False.
    UserError if the prior's predictions are not finite again and again, or memory is lacking.
    """
    run.forget_failure()
    guard: Guard | None = None
    while True:
        with memory_for(f"{run.path}: the scene", f"end other programs, then {continues(run)}"):
            attempt = Attempt(cfg, run, priors, guard)
        try:
            return attempt.run_blocks(observer, stop)
        except Diverged as reason:
            guard = attempt.guard
            guard.roll_back()
            if guard.rollbacks >= MAX_ROLLBACKS:
                raise failure(run, attempt, str(reason)) from reason
            observer.note(f"step {attempt.step}: {reason}; going back, with steps {guard.rate:g} times as long")
        except Exception as error:
            if (memory := lacking_memory(error)) is None:
                raise
            raise lack(run, attempt, memory) from error
        finally:
            run.close_log()


class Attempt:
    """The run from its newest checkpoint on, until it ends or diverges."""

    def __init__(self, cfg: Config, run: RunFolder, priors: Priors, guard: Guard | None) -> None:
        started = time.perf_counter()
        self.cfg, self.run, self.priors = cfg, run, priors
        self.checkpoint = checkpoint = run.load_latest(check_state)
        state = checkpoint.state if checkpoint else {}
        self.notes = [
            *(checkpoint.messages if checkpoint else ()),
            *use_threads(state.get("threads", torch.get_num_threads())),
        ]
        self.scene = build_scene(cfg, step_generator(cfg.seed, "init", 0), priors.device)
        self.restore(self.scene, "scene")
        self.optimizer = Adam(self.scene.param_groups("all", 0.0), betas=(0.9, 0.99), eps=1e-15)
        self.restore(self.optimizer, "adam")
        self.seconds: dict[str, float] = dict(state.get("seconds", {}))
        self.guard = guard or Guard(**state.get("guard", {}))
        self.skipped: dict[str, int] = dict(state.get("skipped", {}))  # blocks by stage, without those undone
        self.step = checkpoint.step if checkpoint else 0
        self.stage = cfg.stages[0]
        self.steps: Steps | None = None
        self.next_inputs: Inputs | None = None
        self.add_time("load", started)

    def restore(self, owner: object, name: str) -> None:
        """Brings `owner` to where the checkpoint has it, if there is one; UserError if it is of another version."""
        if self.checkpoint is None:
            return
        try:
            restore(owner, name, self.checkpoint.tensors)
        except ValueError as error:
            path = self.run.checkpoints.path(self.checkpoint.step)
            raise UserError(f"{path} is of another version: {error}; delete it to go on from the one before") from error

    def run_blocks(self, observer: Observer, stop: Callable[[], bool]) -> Optimized:
        """The blocks that are left."""
        cfg, total_steps = self.cfg, sum(stage.steps for stage in self.cfg.stages)
        for message in self.notes:
            observer.note(message)
        observer.start(total_steps, self.step)
        saved_step, saved_at = self.step, time.perf_counter()
        for block, following in pairwise([*blocks(cfg.stages, self.step), None]):
            assert block is not None
            stage = cfg.stages[block.stage_index]
            observer.stage(stage.name)
            steps = self.start_stage(stage)
            begun = time.perf_counter()
            numbers = self.run_block(steps, stage, block, following)
            observer.advance(self.step, **numbers)
            observer.on_block(self.step, self.scene)
            self.add_time(stage.name, begun)
            stopping = stop() and self.step < total_steps
            due = (
                self.step - saved_step >= cfg.checkpoint.every_steps
                or time.perf_counter() - saved_at >= cfg.checkpoint.every_seconds
            )
            good = self.guard.in_a_row == 0  # a rollback must reach a time before the bad predictions
            if (due and good) or stopping or self.step == total_steps:
                self.save(steps, stage)
                saved_step, saved_at = self.step, time.perf_counter()
            if stopping:
                return self.result(finished=False)
        return self.result(finished=True)

    def start_stage(self, stage: StageConfig) -> Steps:
        """The steps of `stage`, with its prior, loaded unless they are in use."""
        self.stage, cfg = stage, self.cfg.prior_of(stage)
        if self.steps is not None:
            if self.priors.holds(cfg):
                return self.steps
            self.steps.close()  # their memory first
            self.steps = None
        begun = time.perf_counter()
        self.steps = steps = build_steps(self.cfg, self.scene, self.priors.get(cfg), self.optimizer)
        if self.checkpoint and self.checkpoint.state.get("stage") == stage.name:
            self.restore(steps.estimator(stage), "estimator")
        self.add_time("load", begun)
        return steps

    def run_block(self, steps: Steps, stage: StageConfig, block: Block, following: Block | None) -> dict[str, float]:
        """Takes one block; the numbers for the log. Samples the inputs of the next block while the GPU works."""
        inputs = self.next_inputs or self.sample(block, steps.prior)
        steps.start(stage, block, inputs)
        keeps_prior = following and self.priors.holds(self.cfg.prior_of(self.cfg.stages[following.stage_index]))
        self.next_inputs = self.sample(following, steps.prior) if following and keeps_prior else None
        outcome = steps.finish()
        self.step = block.step + block.length
        numbers: dict[str, float] = {}
        if not outcome.target_is_finite:
            numbers["skipped"] = self.guard.skipped + 1
            self.skipped[stage.name] = self.skipped.get(stage.name, 0) + 1
        if math.isfinite(outcome.loss):
            numbers["loss"] = outcome.loss
        numbers |= self.scene.size() | {"t": inputs.fraction_of_T}
        self.run.log(self.step, **numbers)
        self.guard.observe(outcome.target_is_finite, outcome.scene_is_finite)
        if self.skipped.get(stage.name) == (count := count_blocks(stage)):  # which its last block shows
            raise Diverged(f"none of the {count} predictions of the prior in stage {stage.name} was finite")
        return numbers

    def sample(self, block: Block, prior: Prior) -> Inputs:
        """The random inputs of `block`."""
        stage = self.cfg.stages[block.stage_index]
        return sample_inputs(self.cfg.seed, stage, block, prior, self.priors.device, self.guard)

    def save(self, steps: Steps, stage: StageConfig) -> None:
        """Writes a checkpoint and a preview."""
        tensors = collect({"scene": self.scene, "adam": self.optimizer, "estimator": steps.estimator(stage)})
        threads = torch.get_num_threads()
        state = {"seconds": self.seconds, "guard": self.guard.numbers(), "skipped": self.skipped}
        state |= {"stage": stage.name, "threads": threads}
        self.run.save_checkpoint(self.step, tensors, state)
        self.run.save_preview(self.step, png(render_row(self.scene.render, self.priors.device)))

    def add_time(self, name: str, begun: float) -> None:
        """Adds the time since `begun` to what `name` has taken."""
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun

    def result(self, finished: bool) -> Optimized:
        """The scene, with what the report needs."""
        counts = {stage.name: count_blocks(stage) for stage in self.cfg.stages}
        skipped = {name: {"skipped": number, "blocks": counts[name]} for name, number in self.skipped.items()}
        return Optimized(self.scene, finished, self.step, self.seconds, self.guard, skipped)


def failure(run: RunFolder, attempt: Attempt, reason: str) -> UserError:
    """The error when rollbacks do not help; failed.json gets the same facts."""
    stage = attempt.stage
    report = {"step": attempt.step, "stage": stage.name, "reason": reason, **attempt.guard.numbers()}
    run.save_failure(report)
    return UserError(
        f"{run.path}: {reason}, at step {attempt.step} (stage {stage.name}), and again after each of "
        f"{MAX_ROLLBACKS - 1} returns with smaller steps; {nonfinite_remedy(attempt.cfg.prior_of(stage))}; "
        "failed.json has the counts"
    )


def lack(run: RunFolder, attempt: Attempt, memory: str) -> UserError:
    """The error for too little "memory" or "GPU memory" in the stage of `attempt`."""
    stage = attempt.stage
    key = f"stages.{attempt.cfg.stages.index(stage)}"
    return UserError(
        f"{run.path}: stage {stage.name}: out of {memory} after step {attempt.step}; end other programs, then "
        f"{continues(run)}; or begin a run with lower {key}.num_orbits or {key}.resolution, which "
        "`sds3d estimate` counts"
    )


def continues(run: RunFolder) -> str:
    """How to continue `run`, for a message."""
    return f"`sds3d resume {run.path}` continues from the last checkpoint"


def build_steps(cfg: Config, scene: Scene, prior: Prior, optimizer: Adam) -> Steps:
    """Recorded steps where the scene can take them and `cfg.capture` is on, else plain ones."""
    if cfg.capture and isinstance(scene, FusedScene):
        from sds3d.optimization.recorded import RecordedSteps

        return RecordedSteps(cfg, scene, prior, optimizer)
    return Steps(cfg, scene, prior, optimizer)
