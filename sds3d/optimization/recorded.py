"""The same steps on CUDA, recorded as CUDA graphs: rendering, prior and estimator, gradients and Adam.

What depends on the scene's memory (showing the scene, moving it) is recorded anew when that changes, which takes
milliseconds; what does not (encoder, prior and estimator, and the backward pass to the images) stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sds3d.adam import Adam
from sds3d.cameras import Cameras
from sds3d.config.schema import Config, StageConfig
from sds3d.distillation import kind_of
from sds3d.interfaces import Drawing, FusedScene, ImageGradients, Prior, Render
from sds3d.native.graphs import CapturedCall, recording
from sds3d.optimization.inputs import Block, Inputs
from sds3d.optimization.step import Outcome, Steps, objective
from sds3d.optimization.targets import Target, find_target, shown


@dataclass(frozen=True)
class Started:
    """A block that was handed to the GPU."""

    stage: StageConfig
    block: Block
    seed: int  # of the estimator's noise
    rate: float  # factor of all learning rates


@dataclass(frozen=True)
class Graphs:
    """The recordings of one stage and one scene memory, with what they write."""

    show: torch.cuda.CUDAGraph  # renders and writes `images` and `drawing`
    step_after_show: torch.cuda.CUDAGraph  # moves the scene from `drawing`
    step: torch.cuda.CUDAGraph  # renders again and moves the scene
    images: Tensor
    drawing: Drawing


class RecordedSteps(Steps):
    """Steps that are replayed; equal to `Steps` but for the order of sums and the generator of the noise."""

    scene: FusedScene

    def __init__(self, cfg: Config, scene: FusedScene, prior: Prior, optimizer: Adam) -> None:
        super().__init__(cfg, scene, prior, optimizer)
        device = scene.device
        self.generator = torch.Generator(device)
        self.finders: dict[tuple[int, int, bool], Callable[..., Tensor | tuple[Tensor, ...]]] = {}  # of this stage
        self.rates = torch.zeros(len(optimizer.param_groups), device=device)  # where recorded steps read them
        self.written_rates: list[float] = []
        self.loss = torch.zeros((), device=device)
        self.bad = torch.zeros(1, dtype=torch.int32, device=device)  # 1: the target is not finite, nothing moves
        self.launched = round(optimizer.count().item())  # steps, all of which Adam should have counted
        self.overflows = 0  # how often a drawing had too little memory
        self.inputs: Inputs | None = None  # always the same memory
        self.target: Target | None = None
        self.recorded: tuple[StageConfig, int] | None = None  # stage and number of views that the recordings are for
        self.forget()

    def start(self, stage: StageConfig, block: Block, inputs: Inputs) -> None:
        """Hands the steps of `block` to the GPU."""
        self.prepare(stage, inputs)
        self.started = Started(stage, block, inputs.generator.initial_seed(), inputs.rate)
        is_shown = self.set_target()
        end = block.step + block.length
        for step in range(block.step, end):
            self.set_learning_rates(stage, step, inputs.rate)
            self.take_step(stage, is_shown and step == block.step)
            self.launched += 1
            if stage.trains == "all" and self.scene.update_due(step):
                if not self.settle(step + 1).target_is_finite:
                    return
                self.scene.update_after(step, self.optimizer)
                if step + 1 < end:
                    self.prepare(stage, inputs)  # the scene may be another now

    def finish(self) -> Outcome:
        """The outcome of the block that was started last; waits for the GPU."""
        return self.settle(self.started.block.step + self.started.block.length)

    def close(self) -> None:
        """Releases the prior, the recordings and their memory; these steps are over."""
        super().close()
        self.finders.clear()
        self.forget()

    def forget(self) -> None:
        """Drops what was recorded for another stage or for another memory of the scene."""
        self.recorded = None
        self.recorded_memory: object = None
        self.drop_graphs()

    def drop_graphs(self) -> None:
        """With their memory: freed while another graph is recorded, it would spoil that one."""
        self.graphs: Graphs | None = None
        self.capacity: int | None = None  # of a drawing; known after a step

    def prepare(self, stage: StageConfig, inputs: Inputs) -> None:
        """Copies `inputs` to where the graphs read them."""
        cameras = inputs.cameras
        if (
            self.inputs is None
            or self.recorded != (stage, len(cameras))
            or self.recorded_memory is not self.scene.memory()
        ):
            if self.recorded and self.recorded[0] != stage:
                self.finders.clear()  # those of a large prior take gigabytes
            self.forget()
            self.recorded, self.recorded_memory = (stage, len(cameras)), self.scene.memory()
            copies = Cameras(cameras.viewmats.clone(), cameras.Ks.clone(), cameras.width, cameras.height)
            self.inputs = Inputs(copies, inputs.backgrounds.clone(), inputs.timesteps.clone(), self.generator)
            return
        pairs = (
            (self.inputs.cameras.viewmats, cameras.viewmats),
            (self.inputs.cameras.Ks, cameras.Ks),
            (self.inputs.backgrounds, inputs.backgrounds),
            (self.inputs.timesteps, inputs.timesteps),
        )
        for buffer, value in pairs:
            buffer.copy_(value)

    def set_target(self) -> bool:
        """Writes the prior's target to `self.target`; True if `graphs.drawing` is the drawing it was found for."""
        inputs, started = self.read_inputs(), self.started
        if self.graphs is not None:
            self.graphs.show.replay()
            images = self.graphs.images
        else:
            images, _ = self.show(None)
        self.generator.manual_seed(started.seed)
        finder = self.finder(started.stage, lasting=started.block.length > 1)
        found = Target(
            *finder(images, inputs.timesteps, inputs.cameras.viewmats, inputs.cameras.Ks, inputs.backgrounds)
        )
        if self.target is None or self.target.images.shape != found.images.shape:
            self.target = found
        else:
            for buffer, value in zip(self.target, found, strict=True):
                buffer.copy_(value)
        self.bad.copy_(~found.is_finite())
        return self.graphs is not None

    def finder(self, stage: StageConfig, lasting: bool) -> Callable[..., Tensor | tuple[Tensor, ...]]:
        """The stage's target as a function of tensors, recorded where its estimator can be."""
        cameras = self.read_inputs().cameras
        width, height = cameras.width, cameras.height
        key = (width, height, lasting)
        if key not in self.finders:

            def find(images: Tensor, timesteps: Tensor, viewmats: Tensor, Ks: Tensor, backgrounds: Tensor) -> Target:
                inputs = Inputs(Cameras(viewmats, Ks, width, height), backgrounds, timesteps, self.generator)
                return find_target(self.prior, images, partial(self.estimate, stage, inputs), lasting)

            self.finders[key] = CapturedCall(find, self.generator) if kind_of(stage.estimator).recordable else find
        return self.finders[key]

    def take_step(self, stage: StageConfig, is_shown: bool) -> None:
        """The first step is not recorded: libraries set up what they need at first use, and it tells the capacity."""
        if self.capacity is None:
            self.move(stage, None)
            return
        if self.graphs is None:
            show, step_after_show, step = (torch.cuda.CUDAGraph() for _ in range(3))
            with recording(show):
                images, drawing = self.show(self.capacity)
            with recording(step_after_show):
                self.move(stage, self.capacity, drawing)
            with recording(step):
                self.move(stage, self.capacity)
            self.graphs = Graphs(show, step_after_show, step, images, drawing)
        (self.graphs.step_after_show if is_shown else self.graphs.step).replay()

    def settle(self, step: int) -> Outcome:
        """The outcome of the block up to `step`.

        Steps that did nothing because a drawing had too little memory are taken again, now with more.
        """
        taken, outcome = self.read()
        missing = self.launched - taken
        if missing and outcome.target_is_finite:
            self.overflows += 1
            self.drop_graphs()
            started = self.started
            if missing == step - started.block.step:  # then the images for the target were not whole either
                self.set_target()
            for late in range(step - missing, step):  # after an overflow nothing moves until the block ends
                self.set_learning_rates(started.stage, late, started.rate)
                self.move(started.stage, None)
            taken, outcome = self.read()
        self.launched = taken
        return outcome

    def read(self) -> tuple[int, Outcome]:
        """How many steps Adam has counted, and the outcome of the last ones; waits for the GPU."""
        values = (self.optimizer.count(), self.loss, self.bad[0], self.scene.is_finite())
        taken, loss, bad, scene_is_finite = torch.stack([x.float() for x in values]).tolist()
        return round(taken), Outcome(math.nan if bad else loss, not bad, bool(scene_is_finite))

    def show(self, capacity: int | None) -> tuple[Tensor, Drawing]:
        """The images that the prior is shown, and the drawing that they are made from."""
        inputs = self.read_inputs()
        with torch.no_grad():
            drawing = self.scene.draw(inputs.cameras, inputs.backgrounds, capacity)
            return shown(self.prior, drawing.render, inputs.cameras), drawing

    def move(self, stage: StageConfig, capacity: int | None, drawing: Drawing | None = None) -> None:
        """One optimizer step towards the target; none at all if it is not finite or the drawing overflowed.

        `drawing` is a drawing of the present scene, if there is one.
        """
        inputs = self.read_inputs()
        assert self.target is not None
        cameras, backgrounds = inputs.cameras, inputs.backgrounds
        drawing = drawing or self.scene.draw(cameras, backgrounds, capacity)
        drawing.overflow.bitwise_or_(self.bad)
        if capacity is None:
            self.capacity = drawing.roomy_capacity
        render = drawing.render
        colors, alphas, depths = (x.detach().requires_grad_() for x in (render.colors, render.alphas, render.depths))
        distance, loss = objective(self.prior, Render(colors, alphas, depths), cameras, self.target, stage.loss)
        found = torch.autograd.grad(loss, (colors, alphas, depths), allow_unused=True)
        gradients = ImageGradients(*(None if v is None else v.contiguous() for v in found))
        self.scene.descend(drawing, cameras, backgrounds, gradients, stage.loss, self.optimizer, self.rates)
        self.loss.copy_(distance.detach())

    def set_learning_rates(self, stage: StageConfig, step: int, factor: float) -> None:
        """Writes those of the scene for `step`, times `factor`, where recorded steps read them."""
        groups = self.scene.param_groups(stage.trains, step / self.total_steps)
        rates = [factor * group["lr"] for group in groups]
        if rates != self.written_rates:
            for buffer, rate in zip(self.rates, rates, strict=True):
                buffer.fill_(rate)
            self.written_rates = rates

    def read_inputs(self) -> Inputs:
        """The inputs of the block at hand, always in the same memory."""
        assert self.inputs is not None
        return self.inputs
