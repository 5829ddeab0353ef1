"""Variational score distillation: SDS with the noise predicted by a copy of the prior that is trained on renders."""

from __future__ import annotations

from typing import cast

import torch
from torch import Generator, Tensor, nn

from sds3d.adam import Adam
from sds3d.config.schema import VSDConfig
from sds3d.distillation.detached import detached
from sds3d.distillation.diffusion import as_image_gradient, draw_noise, noise_level, predict, predict_guided
from sds3d.errors import UserError
from sds3d.interfaces import AdaptablePrior, Condition, Prior


class VSD:
    """An estimator that learns: the first call makes a LoRA twin of the prior, and every call trains it."""

    def __init__(self, cfg: VSDConfig) -> None:
        self.cfg = cfg
        self.prior: AdaptablePrior | None = None
        self.twin: Prior | None = None
        self.parameters: list[nn.Parameter] = []
        self.optimizer: Adam | None = None
        self.saved: dict[str, Tensor] = {}  # the state for a twin that does not exist yet

    @detached
    def __call__(
        self,
        prior: Prior,  # an AdaptablePrior, the same object in every call
        latents: Tensor,  # [C, Z, h, w]
        timesteps: Tensor,  # [C] long, equal within an orbit
        condition: Condition,
        generator: Generator,
    ) -> Tensor:
        """Gradient w(t) (guided(x_t) - eps_twin(x_t, text)), with w(t) = sigma / alpha as in `sds`; [C, Z, h, w].

        VSD (ProlificDreamer, arXiv:2305.16213) of a single scene: eps_twin, without guidance, estimates the score of
        noised renders. The twin receives the cameras in the same way as the prior.
        """
        if self.twin is None:
            self._make_twin(cast(AdaptablePrior, prior))
        assert prior is self.prior and self.twin is not None
        alpha, sigma = noise_level(prior, timesteps)
        noisy = alpha * latents + sigma * draw_noise(latents, generator)
        guided = predict_guided(prior, noisy, timesteps, condition, self.cfg.guidance_scale)
        (learned,) = predict(self.twin, noisy, timesteps, condition, condition.prompts.positive)
        gradient = sigma / alpha * (guided - learned)
        for _ in range(self.cfg.train_steps):
            self._learn(self.twin, latents, condition, generator)
        return as_image_gradient(prior, latents, gradient)

    def tensors(self) -> dict[str, Tensor]:
        """The twin's trained parameters and their Adam state by name, not copied; empty before the first call."""
        if self.optimizer is None:
            return self.saved
        return {
            f"{index}.{name}": tensor
            for index, parameter in enumerate(self.parameters)
            for name, tensor in {"value": parameter.detach(), **self.optimizer.state[parameter]}.items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Continue from the result of `tensors`, for a twin of the same shapes; allowed before the first call."""
        if self.twin is None:
            self.saved = tensors
            return
        current = self.tensors()
        if {name: x.shape for name, x in current.items()} != {name: x.shape for name, x in tensors.items()}:
            raise UserError("vsd: the checkpoint's twin has other tensors; delete the newest checkpoint of this run")
        for name, tensor in current.items():
            tensor.copy_(tensors[name])

    def _make_twin(self, prior: AdaptablePrior) -> None:
        self.prior = prior
        self.twin, self.parameters = prior.adapt(self.cfg.rank)
        self.optimizer = Adam([{"params": self.parameters, "lr": self.cfg.lr}], betas=(0.9, 0.999), eps=1e-8)
        if self.saved:
            self.restore(self.saved)
            self.saved = {}

    def _learn(self, twin: Prior, latents: Tensor, condition: Condition, generator: Generator) -> None:
        """One training step of the twin: predict the noise in noised `latents`, at one random timestep per orbit."""
        assert self.optimizer is not None
        views, count = twin.num_views, len(twin.alphas_cumprod)
        sampled = torch.randint(count, (len(latents) // views,), generator=generator, device=generator.device)
        timesteps = sampled.repeat_interleave(views).to(latents.device)
        alpha, sigma = noise_level(twin, timesteps)
        noise = draw_noise(latents, generator)
        self.optimizer.zero_grad()
        with torch.enable_grad():
            noisy = alpha * latents + sigma * noise
            (learned,) = predict(twin, noisy, timesteps, condition, condition.prompts.positive)
            # a sum, since the gradients of a mean would underflow in half precision; Adam ignores the scale
            loss = (learned - noise).square().sum()
            loss.backward()
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if torch.stack([x.isfinite().all() for x in (loss, *gradients)]).all():  # the twin would never recover
            self.optimizer.step()
