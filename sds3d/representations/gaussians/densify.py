"""Budgeted growth and pruning of Gaussians under score distillation.

Distillation gradients scale with guidance and noise level, so no fixed threshold transfers between runs. The splats are
ranked by accumulated image-space gradient and the top share grows, up to a budget; opacities are never reset. No splat
is larger than `max_scale` afterwards: oversized ones split first, and what is still too large shrinks to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sds3d.adam import Adam
from sds3d.config.schema import GaussiansConfig
from sds3d.representations.gaussians.splats import Gaussians
from sds3d.representations.rotations import quats_to_rotations

SPLIT_SHRINK = 1.6  # children of a split are this much smaller (3DGS, arXiv:2308.04079, section 5.2)
STATE = ("exp_avg", "exp_avg_sq")


class Densifier:
    """Accumulates gradient statistics between its interventions; its two tensors belong to the checkpoint."""

    def __init__(self, cfg: GaussiansConfig, total_steps: int) -> None:
        self.cfg, self.total_steps = cfg, total_steps
        self.gradients = torch.zeros(0)  # [N] summed over steps
        self.counts = torch.zeros(0)  # [N] views that saw the splat

    def observe(self, info: Mapping[str, Tensor]) -> None:
        """Adds the gradient statistics of one step."""
        self.gradients += info["means2d_grad_norm"]
        self.counts += (info["radii"] > 0).sum(0)

    def due(self, step: int) -> bool:
        """Whether to intervene after `step`."""
        return (step + 1) % self.cfg.densify_every == 0

    def intervene(self, scene: Gaussians, step: int, optimizer: Adam) -> None:
        """Call after optimizer.step(); if it is due, this changes the number of splats."""
        if self.due(step):
            self._intervene(scene, step, optimizer, step + 1 <= self.cfg.densify_until * self.total_steps)

    def reset(self, scene: Gaussians) -> None:
        """Resets the statistics."""
        self.gradients = torch.zeros(len(scene), device=scene.means.device)
        self.counts = torch.zeros_like(self.gradients)

    @torch.no_grad()
    def _intervene(self, scene: Gaussians, step: int, optimizer: Adam, grow: bool) -> None:
        largest = scene.log_scales.new_tensor(math.log(self.cfg.max_scale))
        keep = scene.logit_opacities.sigmoid() > self.cfg.prune_opacity
        keep &= scene.means.norm(dim=-1) < 1.2  # splats far outside the unit ball are floaters
        if not keep.any():  # all splats are faint: keep them and let the optimizer continue
            scene.log_scales.clamp_(max=largest)
            return
        room = max(0, self.cfg.max_gaussians - int(keep.sum()))
        budget = min(room, int(self.cfg.grow_fraction * int(keep.sum()))) if grow else 0
        score = self.gradients / self.counts.clamp_min(1)
        score[scene.log_scales.amax(-1) > largest] = torch.inf  # oversized splats hide detail: they split first
        score[~keep] = -1.0
        chosen = torch.zeros_like(keep)
        chosen[score.topk(budget).indices] = True
        generator = torch.Generator().manual_seed(step)
        children = _children(scene, chosen, generator)
        scene_tensors = {}
        for name, tensor in scene.tensors().items():
            scene_tensors[name] = torch.cat([tensor[keep & ~chosen], children[name]])
        scene_tensors["log_scales"].clamp_(max=largest)  # also without a budget, and after `densify_until`
        _replace(scene, optimizer, scene_tensors, keep & ~chosen)
        self.reset(scene)


def _children(scene: Gaussians, chosen: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Two smaller splats for each chosen one, placed at random inside it."""
    parents = {name: tensor[chosen] for name, tensor in scene.tensors().items()}
    twice = {name: torch.cat([tensor, tensor]) for name, tensor in parents.items()}
    draws = torch.randn(len(parents["means"]), 3, generator=generator).to(scene.means)
    offsets = 0.7 * draws * parents["log_scales"].exp()
    offsets = (quats_to_rotations(parents["quats"]) @ offsets[..., None])[..., 0]
    twice["means"] = torch.cat([parents["means"] + offsets, parents["means"] - offsets])
    twice["log_scales"] = twice["log_scales"] - torch.tensor(SPLIT_SHRINK).log()
    return twice


def _replace(scene: Gaussians, optimizer: Adam, tensors: dict[str, Tensor], survivors: Tensor) -> None:
    """Swap the parameters, keeping the Adam moments of the survivors and giving the new splats none."""
    for group in optimizer.param_groups:
        old = group["params"][0]
        new = nn.Parameter(tensors[group["name"]].contiguous())
        state = optimizer.state.pop(old, None)
        if state:
            for key in STATE:
                moments = torch.zeros_like(new)
                kept = state[key][survivors]
                moments[: len(kept)] = kept
                state[key] = moments
            optimizer.state[new] = state
        group["params"] = [new]
        setattr(scene, group["name"], new)
