"""Low-rank corrections (LoRA, arXiv:2106.09685) of a network's attention."""

from __future__ import annotations

from torch import nn


def with_lora(module: nn.Module, rank: int) -> tuple[nn.Module, list[nn.Parameter]]:
    """A copy of `module` that shares its weights, and the corrections of its own, zero at first, to train."""
    raise NotImplementedError
