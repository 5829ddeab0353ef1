"""Noise schedules: the levels of a checkpoint, its prediction type, and the conversion to predicted noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from sds3d.distillation.diffusion import noise_level
from sds3d.errors import UserError
from sds3d.priors.pretrained import read_json

Prediction = Literal["epsilon", "v_prediction", "flow"]
MIN_ALPHAS_CUMPROD = 2.0**-24  # floor for schedules that end in pure noise, since x0 is divided by alpha


@dataclass(frozen=True)
class Schedule:
    """Variance-preserving noise levels: noisy = alpha x0 + sigma noise, alpha^2 + sigma^2 = 1."""

    alphas_cumprod: Tensor  # [T] float32, alpha^2, decreasing
    prediction: Prediction
    network_timesteps: Tensor  # [T] float32, the network's own timestep input for each timestep

    def to(self, device: torch.device) -> Schedule:
        """The same schedule with its tensors on `device`."""
        return Schedule(self.alphas_cumprod.to(device), self.prediction, self.network_timesteps.to(device))

    def network_input(self, noisy: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """The network's inputs for `noisy` [B, Z, h, w] at `timesteps` [B] long: a batch like it, timesteps [B].

        A flow model takes x = (1 - s) x0 + s noise, which is noisy / (alpha + sigma) with s = sigma / (alpha + sigma).
        """
        if self.prediction == "flow":
            alpha, sigma = noise_level(self, timesteps)
            noisy = noisy / (alpha + sigma)
        return noisy, self.network_timesteps[timesteps]

    def noise(self, output: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """Predicted noise [B, Z, h, w] from the network's `output` [B, Z, h, w].

        v = alpha noise - sigma x0 (arXiv:2202.00512, app. D); flow = noise - x0 (arXiv:2403.03206, section 2).
        """
        if self.prediction == "epsilon":
            return output
        alpha, sigma = noise_level(self, timesteps)
        if self.prediction == "v_prediction":
            return alpha * output + sigma * noisy
        return (noisy + alpha * output) / (alpha + sigma)


def read_schedule(folder: Path) -> Schedule:
    """The schedule in `folder`/scheduler/scheduler_config.json, a diffusers config."""
    path = folder / "scheduler" / "scheduler_config.json"
    config = read_json(path)
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction") or "sigma_data" in config:
        kind = "an EDM one" if "sigma_data" in config else f"prediction_type {prediction!r}"
        raise UserError(f"{path}: expected epsilon, v_prediction or a flow with a shift, got {kind}; not supported")
    return make_schedule(config)


def make_schedule(config: dict[str, Any]) -> Schedule:
    """The schedule of a diffusers scheduler config of any class; a config with a `shift` is a rectified flow."""
    count = int(config.get("num_train_timesteps", 1000))
    if "shift" in config:
        return flow_schedule(count, float(config["shift"]))
    from diffusers import DDIMScheduler

    names = ("beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
    options = {name: config[name] for name in names if name in config}
    alphas_cumprod = DDIMScheduler(num_train_timesteps=count, **options).alphas_cumprod.float()
    alphas_cumprod = alphas_cumprod.clamp_min(MIN_ALPHAS_CUMPROD)
    return Schedule(alphas_cumprod, config.get("prediction_type", "epsilon"), torch.arange(count).float())


def flow_schedule(count: int, shift: float) -> Schedule:
    """A rectified flow with `count` noise levels, shifted toward noise as in arXiv:2403.03206, eq. 23.

    The levels are the midpoints of equal intervals, which excludes both ends, pure image and pure noise.
    """
    level = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    level = shift * level / (1 + (shift - 1) * level)
    alphas_cumprod = (1 - level).square() / ((1 - level).square() + level.square())
    return Schedule(alphas_cumprod.float(), "flow", (level * count).float())
