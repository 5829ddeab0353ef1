"""Gaussians drawn and moved by our CUDA kernels without autograd, in launches that a CUDA graph can record."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sds3d.adam import Adam
from sds3d.cameras import Cameras
from sds3d.config.schema import LossConfig
from sds3d.interfaces import ImageGradients, Render, Splats
from sds3d.renderers import splat_cuda, view_of
from sds3d.renderers.rasterizer import View
from sds3d.renderers.splat_scene import SplatScene
from sds3d.representations.gaussians.splats import NAMES


@dataclass(frozen=True)
class SplatDrawing:
    """A drawing of the CUDA kernels, as interfaces.Drawing."""

    drawn: splat_cuda.Drawing

    @property
    def render(self) -> Render:
        return Render(self.drawn.colors, self.drawn.alphas, self.drawn.depths)

    @property
    def overflow(self) -> Tensor:
        return self.drawn.status[1:]

    @property
    def roomy_capacity(self) -> int:
        return splat_cuda.roomy(len(self.drawn.keys))


class FusedSplatScene(SplatScene):
    """A FusedScene of Gaussians."""

    def memory(self) -> Tensor:
        return self.gaussians.means

    def draw(self, cameras: Cameras, backgrounds: Tensor, capacity: int | None) -> SplatDrawing:
        view = self._view(cameras, backgrounds)
        return SplatDrawing(splat_cuda.rasterize(self._raw(), view, raw=True, normals=False, capacity=capacity))

    def descend(
        self, drawing: SplatDrawing, cameras: Cameras, backgrounds: Tensor, gradients: ImageGradients,
        cfg: LossConfig, optimizer: Adam, learning_rates: Tensor,
    ) -> None:  # fmt: skip
        view, splats, drawn = self._view(cameras, backgrounds), self._raw(), drawing.drawn
        v_means: Tensor | None = None
        v_quats: Tensor | None = None
        if gradients.depths is not None:
            v_means, v_quats = self._surface_gradients(view, drawn, gradients.depths)
        others = (v_means, v_quats, self._regularization_gradient(splats.scales, cfg), None, None)
        states = [optimizer.state[getattr(self.gaussians, name)] for name in NAMES]
        group = optimizer.param_groups[0]
        state = splat_cuda.AdamState(
            Splats(*(state["exp_avg"] for state in states)),
            Splats(*(state["exp_avg_sq"] for state in states)),
            learning_rates,
            states[0]["step"],
            group["betas"],
            group["eps"],
            self.densifier.gradients,
            self.densifier.counts,
            others,
        )
        cotangents = splat_cuda.Cotangents(gradients.colors, gradients.alphas)
        splat_cuda.adam_step(splats, view, drawn, cotangents, state, deterministic=self.renderer.deterministic)
        taken = 1 - drawn.status[1].float()
        torch._foreach_add_([state["step"] for state in states], [taken] * len(NAMES))

    def update_due(self, step: int) -> bool:
        return self.densifier.due(step)

    def update_after(self, step: int, optimizer: Adam) -> None:
        self.densifier.intervene(self.gaussians, step, optimizer)

    def _view(self, cameras: Cameras, backgrounds: Tensor) -> View:
        return view_of(cameras, backgrounds, self.renderer)

    def _raw(self) -> Splats:
        return Splats(*(getattr(self.gaussians, name).detach() for name in NAMES))

    def _surface_gradients(self, view: View, drawn: splat_cuda.Drawing, v_depths: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of means and quats by the depths; see splat_scene.Surface."""
        splats = Splats(*(x.detach() for x in self.gaussians.activated()))
        cotangents, grad_norm = splat_cuda.Cotangents(depths=v_depths), torch.empty_like(splats.opacities)
        gradients, _ = splat_cuda.gradients(
            splats, view, drawn, cotangents, grad_norm=grad_norm, deterministic=self.renderer.deterministic
        )
        return gradients.means, gradients.quats

    @torch.enable_grad()
    def _regularization_gradient(self, log_scales: Tensor, cfg: LossConfig) -> Tensor | None:
        """Gradients of new leaves: a parameter's would accumulate on the stream that created the parameter."""
        if not cfg.scales:
            return None
        log_scales = log_scales.detach().requires_grad_()
        [gradient] = torch.autograd.grad(cfg.scales * log_scales.exp().mean(), log_scales)
        return gradient
