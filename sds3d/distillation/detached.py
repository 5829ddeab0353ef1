"""The boundary between autograd and the estimators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import ParamSpec

import torch
from torch import Tensor

from sds3d.cameras import Cameras
from sds3d.interfaces import Condition, Prompts

P = ParamSpec("P")


def detached(estimator: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """`estimator` without autograd, on detached inputs: no input and no result has a gradient.

    `torch.no_grad` alone is not enough: an estimator that learns turns gradients on for its own loss, and a backward
    pass of that loss must not reach the latents or the prompts.
    """

    @wraps(estimator)
    @torch.no_grad()
    def call(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        return estimator(*map(_detach, args), **{name: _detach(value) for name, value in kwargs.items()})  # type: ignore[arg-type]

    return call


def _detach(value: object) -> object:
    """`value`, its tensors detached if it is a tensor or a condition."""
    if isinstance(value, Condition):
        cameras = value.cameras
        return replace(
            value,
            prompts=Prompts(*map(_detach, value.prompts)),  # type: ignore[arg-type]
            cameras=Cameras(cameras.viewmats.detach(), cameras.Ks.detach(), cameras.width, cameras.height),
            backgrounds=value.backgrounds.detach(),
        )
    return value.detach() if isinstance(value, Tensor) else value
