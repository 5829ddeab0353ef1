"""The same steps on CUDA, recorded as CUDA graphs: drawing, prior and estimator, gradients and Adam.

What depends on the number of splats (looking at the scene, moving it) is recorded anew when that changes, which takes
milliseconds; what does not (encoder, prior and estimator, and the way back to the images) stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from sds3d.adam import Adam
from sds3d.cameras import Cameras
from sds3d.config.schema import Config, CSDConfig, NFSDConfig, SDEditConfig, SDSConfig, StageConfig
from sds3d.interfaces import Prior, Render, Renderer, Splats
from sds3d.native.graphs import CapturedCall, recording
from sds3d.optimization.losses import distillation_loss, regularization
from sds3d.optimization.step import Block, Inputs, Outcome, Steps, set_learning_rates
from sds3d.optimization.targets import Target, find_target, shown
from sds3d.renderers import splat_cuda
from sds3d.renderers.rasterizer import View
from sds3d.representations.gaussians.splats import NAMES, Gaussians

# the others invert in as many steps as the timesteps' values say
CAPTURABLE = (SDSConfig, CSDConfig, NFSDConfig, SDEditConfig)


class CapturedSteps(Steps):
    """Steps that are replayed; they say what `Steps` say, but for the order of sums and the noise's generator."""

    def __init__(self, cfg: Config, scene: Gaussians, renderer: Renderer, prior: Prior, optimizer: Adam) -> None:
        super().__init__(cfg, scene, renderer, prior, optimizer)
        device = scene.means.device
        self.generator = torch.Generator(device)
        self.finders: dict[tuple[int, int, bool], Callable[..., tuple[Tensor, Tensor]]] = {}  # of this stage
        self.rates = torch.zeros(len(optimizer.param_groups), device=device)
        for group, rate in zip(optimizer.param_groups, self.rates, strict=True):
            group["lr"], group["rate"] = rate, 0.0
        self.loss = torch.zeros((), device=device)
        self.bad = torch.zeros(1, dtype=torch.int32, device=device)  # 1: the target is not all numbers, nothing moves
        self.launched = round(self._state("means")["step"].item())  # steps, all of which Adam should have counted
        self.overflows = 0  # how often tile lists were too short
        self.inputs: Inputs | None = None  # always the same memory
        self.target: Target | None = None
        self.recorded: tuple[StageConfig, int] | None = None
        self._forget()

    def start(self, stage: StageConfig, block: Block, inputs: Inputs) -> None:
        """Hands the steps of `block` to the GPU."""
        self._prepare(stage, inputs)
        self.block = (stage, block, inputs.generator.initial_seed())
        self.rate_factor = inputs.rate
        looked = self._set_target()
        end = block.step + block.length
        for step in range(block.step, end):
            self._set_learning_rates(step)
            self._take_step(stage, looked and step == block.step)
            self.launched += 1
            if stage.trains == "all" and self.scene.densifier.due(step):
                if math.isnan(self._settle(step + 1).loss):
                    return
                self.scene.densifier.intervene(self.scene, step, self.optimizer)
                if step + 1 < end:
                    self._prepare(stage, inputs)  # the splats may be others now

    def finish(self) -> Outcome:
        """What became of the block that was started last; waits for the GPU."""
        _, block, _ = self.block
        return self._settle(block.step + block.length)

    def close(self) -> None:
        """Lets go of the prior, the recordings and their memory; these steps are over."""
        super().close()
        self.finders.clear()
        self._forget()

    def _forget(self) -> None:
        """Drop what was recorded for another stage or for splats that are no more."""
        self.recorded = None
        self.recorded_means: Tensor | None = None
        self._drop_graphs()

    def _drop_graphs(self) -> None:
        """With their memory: freed while another graph is recorded, it would spoil that one."""
        self.looking: torch.cuda.CUDAGraph | None = None
        self.moving_on: torch.cuda.CUDAGraph | None = None  # from what `looking` has drawn
        self.moving: torch.cuda.CUDAGraph | None = None  # drawing anew
        self.seen: Tensor | None = None  # what `looking` writes
        self.drawn: splat_cuda.Drawing | None = None  # and what it has drawn to that end
        self.capacity: int | None = None  # of the tile lists; known after a step

    def _prepare(self, stage: StageConfig, inputs: Inputs) -> None:
        """Copy `inputs` to where the graphs read them."""
        cameras = inputs.cameras
        if self.recorded != (stage, len(cameras)) or self.recorded_means is not self.scene.means:
            if self.recorded and self.recorded[0] != stage:
                self.finders.clear()  # a large prior's takes gigabytes
            self._forget()
            self.recorded, self.recorded_means = (stage, len(cameras)), self.scene.means
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

    def _set_target(self) -> bool:
        """Put what the prior would rather see in `self.target`; whether `self.drawn` is how the scene looks now."""
        stage, block, seed = self.block
        looked = self.looking is not None
        if looked:
            self.looking.replay()
            seen = self.seen
        else:
            seen, _ = self._look(None)
        self.generator.manual_seed(seed)
        inputs = self.inputs
        found = Target(
            *self._finder(stage, lasting=block.length > 1)(
                seen, inputs.timesteps, inputs.cameras.viewmats, inputs.cameras.Ks, inputs.backgrounds
            )
        )
        if self.target is None or self.target.images.shape != found.images.shape:
            self.target = found
        else:
            for buffer, value in zip(self.target, found, strict=True):
                buffer.copy_(value)
        self.bad.copy_(~torch.isfinite(found.images).all())
        return looked

    def _finder(self, stage: StageConfig, lasting: bool) -> Callable[..., tuple[Tensor, Tensor]]:
        """The stage's target as a function of tensors, recorded where it can be."""
        width, height = self.inputs.cameras.width, self.inputs.cameras.height
        key = (width, height, lasting)
        if key not in self.finders:

            def find(seen: Tensor, timesteps: Tensor, viewmats: Tensor, Ks: Tensor, backgrounds: Tensor) -> Target:
                inputs = Inputs(Cameras(viewmats, Ks, width, height), backgrounds, timesteps, self.generator)
                return find_target(self.prior, seen, partial(self._estimate, stage, inputs), lasting)

            recordable = isinstance(stage.estimator, CAPTURABLE)
            self.finders[key] = CapturedCall(find, self.generator) if recordable else find
        return self.finders[key]

    def _set_learning_rates(self, step: int) -> None:
        stage, _, _ = self.block
        rates = self.scene.learning_rates(step / self.total_steps)
        set_learning_rates(self.optimizer, rates, stage, self.rate_factor)

    def _take_step(self, stage: StageConfig, looked: bool) -> None:
        """The first step is not recorded: it sets up what is set up at first use and finds out the capacity."""
        if self.capacity is None:
            self._move(stage, None)
            return
        if self.moving is None:
            self.looking, self.moving_on, self.moving = (torch.cuda.CUDAGraph() for _ in range(3))
            with recording(self.looking):
                self.seen, self.drawn = self._look(self.capacity)
            with recording(self.moving_on):
                self._move(stage, self.capacity, self.drawn)
            with recording(self.moving):
                self._move(stage, self.capacity)
        (self.moving_on if looked else self.moving).replay()

    def _settle(self, step: int) -> Outcome:
        """What became of the block up to `step`.

        Steps that did nothing because the tile lists were too short are taken again, now with longer ones.
        """
        taken, outcome = self._read()
        missing = self.launched - taken
        if missing and not math.isnan(outcome.loss):
            self.overflows += 1
            self._drop_graphs()
            stage, block, _ = self.block
            if missing == step - block.step:  # then what the prior was shown was not whole either
                self._set_target()
            for late in range(step - missing, step):  # after an overflow nothing moves until the block ends
                self._set_learning_rates(late)
                self._move(stage, None)
            taken, outcome = self._read()
        self.launched = taken
        return outcome

    def _read(self) -> tuple[int, Outcome]:
        """How many steps Adam has counted, and what became of the last ones; waits for the GPU."""
        values = (self._state("means")["step"], self.loss, self.bad[0], self.scene.is_finite())
        taken, loss, bad, intact = torch.stack([x.float() for x in values]).tolist()
        return round(taken), Outcome(math.nan if bad else loss, bool(intact))

    def _draw(self, capacity: int | None) -> splat_cuda.Drawing:
        return splat_cuda.rasterize(self._raw(), self._view(), raw=True, normals=False, capacity=capacity)

    def _look(self, capacity: int | None) -> tuple[Tensor, splat_cuda.Drawing]:
        """The images of what the scene looks like, and the drawing that they are made of."""
        with torch.no_grad():
            drawing = self._draw(capacity)
            render = Render(drawing.colors, drawing.alphas, drawing.depths)
            return shown(self.prior, render, self.inputs.cameras), drawing

    def _move(self, stage: StageConfig, capacity: int | None, drawing: splat_cuda.Drawing | None = None) -> None:
        """One optimiser step towards the target; none at all if it is bad or the tile lists overflowed.

        `drawing` is how the scene looks now, if that is known.
        """
        view, splats = self._view(), self._raw()
        drawing = drawing or self._draw(capacity)
        drawing.status[1:].bitwise_or_(self.bad)
        if capacity is None:
            self.capacity = int(splat_cuda.HEADROOM * len(drawing.keys)) + splat_cuda.SPARE
        images = [x.detach().requires_grad_() for x in (drawing.colors, drawing.alphas, drawing.depths)]
        render = Render(*images)
        distance = distillation_loss(shown(self.prior, render, self.inputs.cameras), self.target)
        # A leaf of its own: the parameter's gradient would be gathered on the stream where that was made.
        log_scales = splats.scales.requires_grad_()
        loss = distance + regularization(render, log_scales.exp(), stage.loss)
        *of_images, v_log_scales = torch.autograd.grad(loss, (*images, log_scales), allow_unused=True)
        v_colors, v_alphas, v_depths = (None if v is None else v.contiguous() for v in of_images)
        v_means = v_quats = None
        if v_depths is not None:  # the prior sees normals
            v_means, v_quats = self._of_surface(view, drawing, v_depths)
        splat_cuda.adam_step(
            splats, view, drawing, splat_cuda.Cotangents(v_colors, v_alphas),
            self._adam_state(v_means, v_quats, v_log_scales), deterministic=self.cfg.renderer.deterministic,
        )  # fmt: skip
        taken = 1 - drawing.status[1].float()
        torch._foreach_add_([self._state(name)["step"] for name in NAMES], [taken] * len(NAMES))
        self.loss.copy_(distance.detach())

    def _of_surface(self, view: View, drawing: splat_cuda.Drawing, v_depths: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of means and quats by the depths; see `steps.Surface`."""
        splats = Splats(*(x.detach() for x in self.scene.activated()))
        gradients, _ = splat_cuda.gradients(
            splats, view, drawing, splat_cuda.Cotangents(depths=v_depths),
            grad_norm=torch.empty_like(splats.opacities), deterministic=self.cfg.renderer.deterministic,
        )  # fmt: skip
        return gradients.means, gradients.quats

    def _raw(self) -> Splats:
        return Splats(*(getattr(self.scene, name).detach() for name in NAMES))

    def _view(self) -> View:
        cameras = self.inputs.cameras
        return View(cameras.viewmats, cameras.Ks, self.inputs.backgrounds, cameras.width, cameras.height)

    def _state(self, name: str) -> dict[str, Tensor]:
        return self.optimizer.state[getattr(self.scene, name)]

    def _adam_state(
        self, v_means: Tensor | None, v_quats: Tensor | None, v_log_scales: Tensor | None
    ) -> splat_cuda.AdamState:
        group = self.optimizer.param_groups[0]
        states = [self._state(name) for name in NAMES]
        densifier = self.scene.densifier
        return splat_cuda.AdamState(
            Splats(*(state["exp_avg"] for state in states)),
            Splats(*(state["exp_avg_sq"] for state in states)),
            self.rates,
            states[0]["step"],
            group["betas"],
            group["eps"],
            densifier.gradients,
            densifier.counts,
            (v_means, v_quats, v_log_scales, None, None),
        )
