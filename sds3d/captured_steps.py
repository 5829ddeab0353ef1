"""The same steps on CUDA, recorded as CUDA graphs: drawing, prior and estimator, gradients and Adam.

What depends on the number of splats (looking at the scene, moving it) is recorded anew when that changes, which takes
milliseconds; what does not (prior and estimator) stays. Nothing is read back but one number a block.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sds3d.adam import Adam
from sds3d.cameras import Cameras
from sds3d.capture import CapturedCall, recording
from sds3d.config import Config, CSDConfig, EstimatorConfig, NFSDConfig, SDSConfig, StageConfig
from sds3d.distillation import build_estimator
from sds3d.interfaces import Condition, Prior, Render, Renderer
from sds3d.losses import distillation_loss, regularization
from sds3d.renderers import splat_cuda
from sds3d.representations.gaussians import NAMES, Gaussians
from sds3d.steps import Block, Inputs, Steps, encode, set_learning_rates

CAPTURABLE = (SDSConfig, CSDConfig, NFSDConfig)  # the others invert in as many steps as the timesteps' values say


class CapturedSteps(Steps):
    """Steps that are replayed; they say what `Steps` say, but for the order of sums and the noise's generator."""

    def __init__(self, cfg: Config, scene: Gaussians, renderer: Renderer, prior: Prior, optimizer: Adam) -> None:
        super().__init__(cfg, scene, renderer, prior, optimizer)
        device = scene.means.device
        self.generator = torch.Generator(device)
        self.estimators: dict[tuple[EstimatorConfig, int, int], Callable[..., Tensor]] = {}
        self.rates = torch.tensor([group["lr"] for group in optimizer.param_groups], device=device)
        for group, rate in zip(optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate
        self.loss = torch.zeros((), device=device)
        self.overflows = 0  # how often tile lists were too short
        self.inputs: Inputs | None = None  # always the same memory
        self.target: Tensor | None = None
        self._forget()

    def run(self, stage: StageConfig, block: Block, inputs: Inputs) -> Tensor:
        """Takes the steps of `block`; the distillation loss of the last one."""
        self._prepare(stage, inputs)
        self._set_target(stage, inputs.generator.initial_seed())
        end = block.step + block.length
        for step in range(block.step, end):
            set_learning_rates(self.optimizer, self.cfg, step / self.total_steps)
            self._take_step(stage)
            if step + 1 == end or self.scene.densifier.due(step):
                self._settle(stage, block, step + 1, inputs.generator.initial_seed())
                self.scene.densifier.intervene(self.scene, step, self.optimizer)
                if step + 1 < end:
                    self._prepare(stage, inputs)  # the splats may be others now
        return self.loss

    def _forget(self) -> None:
        """Drop what was recorded for another stage or for splats that are no more."""
        self.recorded: tuple[StageConfig, int] | None = None
        self.recorded_means: Tensor | None = None
        self._drop_graphs()

    def _drop_graphs(self) -> None:
        """With their memory: freed while another graph is recorded, it would spoil that one."""
        self.looking: torch.cuda.CUDAGraph | None = None
        self.moving: torch.cuda.CUDAGraph | None = None
        self.seen: Tensor | None = None  # what `looking` writes
        self.capacity: int | None = None  # of the tile lists; known after a step

    def _prepare(self, stage: StageConfig, inputs: Inputs) -> None:
        """Copy `inputs` to where the graphs read them."""
        cameras = inputs.cameras
        if self.recorded != (stage, len(cameras)) or self.recorded_means is not self.scene.means:
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

    def _set_target(self, stage: StageConfig, seed: int) -> None:
        """What the prior would rather see, in `self.target`."""
        if self.looking is None:
            seen = self._look(None)
        else:
            self.looking.replay()
            seen = self.seen
        self.generator.manual_seed(seed)
        target = self._estimate(stage.estimator)(
            seen, self.inputs.timesteps, self.inputs.cameras.viewmats, self.inputs.cameras.Ks, self.inputs.backgrounds
        )
        if self.target is None or self.target.shape != target.shape:
            self.target = target
        else:
            self.target.copy_(target)

    def _estimate(self, cfg: EstimatorConfig) -> Callable[..., Tensor]:
        """The estimator's target as a function of tensors, recorded where it can be."""
        width, height = self.inputs.cameras.width, self.inputs.cameras.height
        key = (cfg, width, height)
        if key not in self.estimators:
            estimator = build_estimator(cfg)

            @torch.no_grad()
            def target(seen: Tensor, timesteps: Tensor, viewmats: Tensor, Ks: Tensor, backgrounds: Tensor) -> Tensor:
                cameras = Cameras(viewmats, Ks, width, height)
                condition = Condition(self.text, self.negative_text, cameras, backgrounds)
                return seen - estimator(self.prior, seen, timesteps, condition, self.generator)

            self.estimators[key] = CapturedCall(target, self.generator) if isinstance(cfg, CAPTURABLE) else target
        return self.estimators[key]

    def _take_step(self, stage: StageConfig) -> None:
        """The first step is not recorded: it sets up what is set up at first use and finds out the capacity."""
        if self.capacity is None:
            self._move(stage, None)
            return
        if self.moving is None:
            self.looking, self.moving = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
            with recording(self.looking):
                self.seen = self._look(self.capacity)
            with recording(self.moving):
                self._move(stage, self.capacity)
        self.moving.replay()

    def _settle(self, stage: StageConfig, block: Block, step: int, seed: int) -> None:
        """Take those steps again that did nothing because the tile lists were too short, now with longer ones."""
        missing = step - round(self._state("means")["step"].item())
        if not missing:
            return
        self.overflows += 1
        self._drop_graphs()
        if missing == step - block.step:  # then what the prior was shown was not whole either
            self._set_target(stage, seed)
        for _ in range(missing):
            self._move(stage, None)

    def _look(self, capacity: int | None) -> Tensor:
        """Latents of what the scene looks like."""
        with torch.no_grad():
            drawing = splat_cuda.draw(self._raw(), self._view(), raw=True, normals=False, capacity=capacity)
            return encode(self.prior, Render(drawing.colors, drawing.alphas, drawing.depths))

    def _move(self, stage: StageConfig, capacity: int | None) -> None:
        """One optimiser step towards the target; none at all if the tile lists overflowed."""
        view, splats = self._view(), self._raw()
        drawing = splat_cuda.draw(splats, view, raw=True, normals=False, capacity=capacity)
        if capacity is None:
            self.capacity = int(splat_cuda.HEADROOM * len(drawing.keys)) + splat_cuda.SPARE
        colors, alphas = drawing.colors.requires_grad_(), drawing.alphas.requires_grad_()
        render = Render(colors, alphas, drawing.depths)
        distance = distillation_loss(encode(self.prior, render), self.target)
        # Leaves of their own: the parameters' gradients would be gathered on the stream where those were made.
        means, log_scales = splats[0].requires_grad_(), splats[2].requires_grad_()
        loss = distance + regularization(render, means, log_scales.exp(), stage.loss)
        v_colors, v_alphas, v_means, v_log_scales = torch.autograd.grad(
            loss, (colors, alphas, means, log_scales), allow_unused=True
        )
        cotangents = [None if v is None else v.contiguous() for v in (v_colors, v_alphas)]
        splat_cuda.adam_step(
            splats, view, drawing, (*cotangents, None, None), self._adam_state(v_means, v_log_scales),
            deterministic=self.cfg.renderer.deterministic,
        )  # fmt: skip
        taken = 1 - drawing.status[1].float()
        torch._foreach_add_([self._state(name)["step"] for name in NAMES], [taken] * len(NAMES))
        self.loss.copy_(distance.detach())

    def _raw(self) -> list[Tensor]:
        return [getattr(self.scene, name).detach() for name in NAMES]

    def _view(self) -> splat_cuda.View:
        cameras = self.inputs.cameras
        return splat_cuda.View(cameras.viewmats, cameras.Ks, self.inputs.backgrounds, cameras.width, cameras.height)

    def _state(self, name: str) -> dict[str, Tensor]:
        return self.optimizer.state[getattr(self.scene, name)]

    def _adam_state(self, v_means: Tensor | None, v_log_scales: Tensor | None) -> splat_cuda.AdamState:
        group = self.optimizer.param_groups[0]
        states = [self._state(name) for name in NAMES]
        densifier = self.scene.densifier
        return splat_cuda.AdamState(
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            self.rates,
            states[0]["step"],
            group["betas"],
            group["eps"],
            densifier.gradients,
            densifier.counts,
            (v_means, None, v_log_scales, None, None),
        )
