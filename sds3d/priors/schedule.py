"""Noise schedules: the levels of a checkpoint, its prediction type, and the conversion to predicted noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from sds3d.distillation.diffusion import noise_level
from sds3d.errors import UserError
from sds3d.priors.model_config import choice, flag, number, whole, wrong
from sds3d.priors.pretrained import read_json

Prediction = Literal["epsilon", "v_prediction", "flow"]
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
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
    return make_schedule(read_json(path), path)


def make_schedule(config: Mapping[str, Any], where: Path = Path("scheduler_config.json")) -> Schedule:
    """The schedule of a diffusers scheduler config of any class; a config with a `shift` is a rectified flow.

    UserError, which names the file `where`, unless it predicts noise, v or a flow, with noise levels that increase.
    """
    if "sigma_data" in config:
        raise UserError(
            f"{where}: expected epsilon, v_prediction or a flow with a shift, got an EDM one; not supported"
        )
    prediction = choice(config, "prediction_type", where, ("epsilon", "v_prediction"), "epsilon")
    count = whole(config, "num_train_timesteps", where, 2, 100_000, 1000)
    if "shift" in config:
        return flow_schedule(count, number(config, "shift", where, 1e-3, 1e3))
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        num_train_timesteps=count,
        beta_start=number(config, "beta_start", where, 0, 1, 0.0001),  # defaults of diffusers
        beta_end=number(config, "beta_end", where, 0, 1, 0.02),
        beta_schedule=choice(config, "beta_schedule", where, BETA_SCHEDULES, "linear"),
        trained_betas=_trained_betas(config, count, where),
        rescale_betas_zero_snr=flag(config, "rescale_betas_zero_snr", where, False),
    )
    alphas_cumprod = scheduler.alphas_cumprod.float()
    if not (alphas_cumprod.diff() <= 0).all() or not (alphas_cumprod[0] > alphas_cumprod[-1]):
        raise UserError(f"{where}: its betas give no noise levels that increase with the timestep; download it again")
    alphas_cumprod = alphas_cumprod.clamp_min(MIN_ALPHAS_CUMPROD)
    kind: Prediction = "v_prediction" if prediction == "v_prediction" else "epsilon"
    return Schedule(alphas_cumprod, kind, torch.arange(count).float())


def flow_schedule(count: int, shift: float) -> Schedule:
    """A rectified flow with `count` noise levels, shifted toward noise as in arXiv:2403.03206, eq. 23.

    The levels are the midpoints of equal intervals, which excludes both ends, pure image and pure noise.
    """
    level = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    level = shift * level / (1 + (shift - 1) * level)
    alphas_cumprod = (1 - level).square() / ((1 - level).square() + level.square())
    return Schedule(alphas_cumprod.float(), "flow", (level * count).float())


def _trained_betas(config: Mapping[str, Any], count: int, where: Path) -> list[float] | None:
    betas = config.get("trained_betas")
    if betas is None:
        return None
    if not isinstance(betas, list) or len(betas) != count:
        raise wrong(where, "trained_betas", f"{count} numbers", betas)
    return [number({"trained_betas": beta}, "trained_betas", where, 0, 1) for beta in betas]
