"""What a checkpoint holds of the scene, its optimiser and what an estimator has learnt, and the way back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sds3d.adam import Adam
from sds3d.interfaces import Estimator, StatefulEstimator
from sds3d.representations.gaussians.splats import NAMES, Gaussians
from sds3d.runs.checkpoints import Checkpoint


def restore(scene: Gaussians, checkpoint: Checkpoint | None, device: torch.device) -> Adam:
    """Bring `scene` to `device` and, if there is a checkpoint, to its state; the optimiser that goes on from there."""
    if checkpoint:
        for name in NAMES:
            setattr(scene, name, torch.nn.Parameter(checkpoint.tensors[f"scene.{name}"]))
    scene.to(device)
    scene.densifier.reset(scene)
    optimizer = Adam(scene.param_groups(), betas=(0.9, 0.99), eps=1e-15)
    if checkpoint:
        scene.densifier.gradients = checkpoint.tensors["densify.gradients"].to(device)
        scene.densifier.counts = checkpoint.tensors["densify.counts"].to(device)
        for group in optimizer.param_groups:
            prefix = f"adam.{group['name']}."
            state: dict[str, Any] = {
                k.removeprefix(prefix): v.to(device) for k, v in checkpoint.tensors.items() if k.startswith(prefix)
            }
            optimizer.state[group["params"][0]] = state
    return optimizer


def state_tensors(scene: Gaussians, optimizer: Adam) -> dict[str, Tensor]:
    """All tensors that `restore` needs, by name."""
    tensors = {f"scene.{name}": tensor for name, tensor in scene.tensors().items()}
    tensors |= {"densify.gradients": scene.densifier.gradients, "densify.counts": scene.densifier.counts}
    for group in optimizer.param_groups:
        for key, value in optimizer.state[group["params"][0]].items():
            tensors[f"adam.{group['name']}.{key}"] = value
    return tensors


def estimator_tensors(estimator: Estimator) -> dict[str, Tensor]:
    """What an estimator has learnt, by name; most learn nothing."""
    tensors = estimator.tensors() if isinstance(estimator, StatefulEstimator) else {}
    return {f"estimator.{name}": tensor for name, tensor in tensors.items()}


def restore_estimator(estimator: Estimator, checkpoint: Checkpoint) -> None:
    """Bring an estimator to what it had learnt."""
    if isinstance(estimator, StatefulEstimator):
        prefix = "estimator."
        learnt = {k.removeprefix(prefix): v for k, v in checkpoint.tensors.items() if k.startswith(prefix)}
        estimator.restore(learnt)
