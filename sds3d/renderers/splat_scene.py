"""Gaussians with the rasterizer that draws them: a scene for the loop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sds3d.adam import Adam
from sds3d.config.schema import LossConfig, RendererConfig
from sds3d.interfaces import Render, Splats
from sds3d.renderers import build_renderer
from sds3d.representations.gaussians.densify import Densifier
from sds3d.representations.gaussians.ply import splat_ply
from sds3d.representations.gaussians.splats import Gaussians


class Surface:
    """Gaussians that only move and turn: the parameters that normals, the slopes of depths, may change.

    By growing and by gaining opacity splats smooth a surface, too; with each step it would come to lie further out.
    """

    def __init__(self, gaussians: Gaussians) -> None:
        self.gaussians = gaussians

    def activated(self) -> Splats:
        """The activated fields of the Gaussians, with gradients of means and quats only."""
        splats = self.gaussians.activated()
        return Splats(splats.means, splats.quats, *(x.detach() for x in splats[2:]))


class SplatScene:
    """A Scene of Gaussians, drawn by any of the rasterizers."""

    def __init__(self, gaussians: Gaussians, cfg: RendererConfig, total_steps: int, device: torch.device) -> None:
        self.gaussians = gaussians.to(device)
        self.densifier = Densifier(gaussians.cfg, total_steps)
        self.densifier.reset(self.gaussians)
        self.renderer = cfg
        self.render = build_renderer(cfg, self.gaussians, device)
        self.render_surface = build_renderer(cfg, Surface(self.gaussians), device)

    @property
    def device(self) -> torch.device:
        return self.gaussians.means.device

    def density(self, points: Tensor) -> Tensor:
        return self.gaussians.density(points)

    def param_groups(self, trains: str, progress: float) -> list[dict[str, Any]]:
        return self.gaussians.param_groups(trains, progress)

    def regularization(self, cfg: LossConfig) -> Tensor:
        return self.gaussians.regularization(cfg)

    def update(self, step: int, optimizer: Adam, render: Render) -> None:
        """Adds this step's gradient statistics; at intervals, grows and prunes."""
        self.densifier.observe(render.info)
        self.densifier.intervene(self.gaussians, step, optimizer)

    def is_finite(self) -> Tensor:
        return self.gaussians.is_finite()

    def tensors(self) -> dict[str, Tensor]:
        statistics = {"gradients": self.densifier.gradients, "counts": self.densifier.counts}
        return self.gaussians.tensors() | {f"densify.{name}": tensor for name, tensor in statistics.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        if len(counts := {len(x) for x in tensors.values()}) != 1:
            raise ValueError(f"the tensors of the splats are of different numbers: {sorted(counts)}")
        self.gaussians.restore(tensors)
        self.densifier.gradients = tensors["densify.gradients"].to(self.device)
        self.densifier.counts = tensors["densify.counts"].to(self.device)

    def files(self) -> dict[str, bytes]:
        return {"splats.ply": splat_ply(self.gaussians, self.renderer.rasterize_mode)}

    def size(self) -> dict[str, int]:
        return {"gaussians": len(self.gaussians)}
