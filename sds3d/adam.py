"""Adam (Kingma and Ba, arXiv:1412.6980) by torch's fused kernel.

Results and state equal those of torch.optim.Adam(fused=True); tests/test_adam.py shows this. But its constructor
imports torch's compiler, which takes as long as importing torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


class Adam:
    """Adam for `groups` of parameters, with one launch per group. The `lr` of a group is a number or a tensor.

    `param_groups` and `state` ("step", "exp_avg" and "exp_avg_sq" of each parameter, zeros at first) may be changed
    between steps.
    """

    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float], eps: float) -> None:
        self.param_groups = [{**group, "betas": betas, "eps": eps} for group in groups]
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        for parameter in self._parameters():
            moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            self.state[parameter] = {"step": torch.zeros((), device=parameter.device), **moments}

    def zero_grad(self) -> None:
        """Clears the gradients."""
        for parameter in self._parameters():
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Updates every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            states, (beta1, beta2) = [self.state[parameter] for parameter in parameters], group["betas"]
            steps, exp_avgs, exp_avg_sqs = (
                [state[name] for state in states] for name in ("step", "exp_avg", "exp_avg_sq")
            )
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                parameters, [parameter.grad for parameter in parameters], exp_avgs, exp_avg_sqs, [], steps,
                lr=group["lr"], beta1=beta1, beta2=beta2, weight_decay=0.0, eps=group["eps"],
                amsgrad=False, maximize=False,
            )  # fmt: skip

    def count(self) -> Tensor:
        """Steps [] that the first parameter has taken."""
        return self._state(self.param_groups[0])["step"]

    def tensors(self) -> dict[str, Tensor]:
        """Step counts and moments, by the names of the groups, which have one parameter each."""
        return {f"{group['name']}.{key}": x for group in self.param_groups for key, x in self._state(group).items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Restores the state that `tensors` returned for parameters of the same shapes; ValueError for other shapes."""
        for group in self.param_groups:
            for key, x in self._state(group).items():
                saved = tensors[f"{group['name']}.{key}"]
                if saved.shape != x.shape:
                    raise ValueError(f"{group['name']}.{key}: expected {tuple(x.shape)}, got {tuple(saved.shape)}")
                x.copy_(saved)

    def _state(self, group: dict[str, Any]) -> dict[str, Tensor]:
        [parameter] = group["params"]
        return self.state[parameter]

    def _parameters(self) -> Iterator[Tensor]:
        return (parameter for group in self.param_groups for parameter in group["params"])
