"""3D Gaussians as a trainable scene."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sds3d.config.schema import GaussiansConfig, LossConfig
from sds3d.interfaces import Splats
from sds3d.representations.rotations import quats_to_rotations

CELL = 0.08  # of the density query, world units
CHUNK = {"cpu": 512, "cuda": 4096}  # points of the density query; a GPU waits for launches, a CPU for its cache
PAIRS = {"cpu": 1 << 23, "cuda": 1 << 26}  # of a point and a splat that the density query takes at once: 24 bytes each
NAMES = ("means", "quats", "log_scales", "logit_opacities", "logit_colors")


class Gaussians(nn.Module):
    """N splats: means, unit quaternions wxyz, scales, opacities and view-independent colors."""

    def __init__(self, tensors: Mapping[str, Tensor], cfg: GaussiansConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.means = nn.Parameter(tensors["means"])  # [N, 3] world units
        self.quats = nn.Parameter(tensors["quats"])  # [N, 4] wxyz, any length
        self.log_scales = nn.Parameter(tensors["log_scales"])  # [N, 3] natural log of world units
        self.logit_opacities = nn.Parameter(tensors["logit_opacities"])  # [N]
        self.logit_colors = nn.Parameter(tensors["logit_colors"])  # [N, 3] of sRGB in (0, 1)

    @classmethod
    def random_ball(cls, cfg: GaussiansConfig, generator: torch.Generator) -> Gaussians:
        """Gray splats spread evenly in a ball of `cfg.init_radius`, as wide as their mean spacing."""
        n = cfg.num_init
        directions = nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=-1)
        radii = cfg.init_radius * torch.rand(n, 1, generator=generator) ** (1 / 3)
        spacing = cfg.init_radius * (4 / 3 * math.pi / n) ** (1 / 3)
        return cls(
            {
                "means": directions * radii,
                "quats": nn.functional.normalize(torch.randn(n, 4, generator=generator), dim=-1),
                "log_scales": torch.full((n, 3), math.log(0.8 * spacing)),
                "logit_opacities": torch.full((n,), math.log(cfg.init_opacity / (1 - cfg.init_opacity))),
                "logit_colors": 0.2 * torch.randn(n, 3, generator=generator),
            },
            cfg,
        )

    def __len__(self) -> int:
        return len(self.means)

    def activated(self) -> Splats:
        """The fields of Splats, differentiable in the parameters."""
        return Splats(
            self.means,
            self.quats,
            self.log_scales.exp(),
            self.logit_opacities.sigmoid(),
            self.logit_colors.sigmoid(),
        )

    def param_groups(self, trains: str, progress: float) -> list[dict[str, Any]]:
        """One Adam group for each kind of parameter, with its learning rate; see interfaces.Scene."""
        cfg = self.cfg
        rates = (cfg.lr_means.at(progress), cfg.lr_quats, cfg.lr_scales, cfg.lr_opacities, cfg.lr_colors)
        return [
            {
                "params": [getattr(self, name)],
                "lr": rate if trains == "all" or name == "logit_colors" else 0.0,
                "name": name,
            }
            for name, rate in zip(NAMES, rates, strict=True)
        ]

    def regularization(self, cfg: LossConfig) -> Tensor:
        """Weighted mean scale [] in world units, 0 if `cfg` has no weight for it."""
        return cfg.scales * self.log_scales.exp().mean() if cfg.scales else self.log_scales.new_zeros(())

    @torch.no_grad()
    def density(self, points: Tensor) -> Tensor:
        """Sum of opacity exp(-d^2 / 2) over the splats at `points` [P, 3], d the Mahalanobis distance up to 4; [P]."""
        means, quats, scales, opacities, _ = self.activated()
        axes = quats_to_rotations(quats) / scales.clamp_min(1e-4)[:, None, :]  # [N, 3, 3], whitening columns
        reach = 4 * scales.amax(-1, keepdim=True)
        cells = ((points + 2) / CELL).long()
        order = ((cells[:, 0] * 4096 + cells[:, 1]) * 4096 + cells[:, 2]).argsort()  # neighbors in one chunk
        density = points.new_zeros(len(points))
        for chunk in order.split(CHUNK[points.device.type]):
            local = points[chunk]
            near = ((means > local.amin(0) - reach) & (means < local.amax(0) + reach)).all(1).nonzero()[:, 0]
            for part in near.split(max(1, PAIRS[points.device.type] // len(local))):
                whiten = axes[part].transpose(0, 1).reshape(3, -1)  # [3, 3 n]
                shift = (means[part, None] @ axes[part]).reshape(-1)
                squared = (local @ whiten - shift).square_().view(len(local), len(part), 3).sum(-1)
                density[chunk] += squared.mul_(-0.5).exp_() @ opacities[part]
        return density

    def is_finite(self) -> Tensor:
        """Whether all parameters are finite, a bool tensor []."""
        norms = torch._foreach_norm([getattr(self, name).detach() for name in NAMES])
        return torch.isfinite(torch.stack(norms)).all()

    def tensors(self) -> dict[str, Tensor]:
        """The raw parameters by name."""
        return {name: getattr(self, name).detach() for name in NAMES}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores the parameters that `tensors` returned; the number of splats may differ."""
        for name in NAMES:
            setattr(self, name, nn.Parameter(tensors[name].to(self.means.device)))
