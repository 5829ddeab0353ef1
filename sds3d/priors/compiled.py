"""Frozen networks compiled by torch, once for a machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, compiled at its first call; what was compiled is kept on disk for the next process."""
    return torch.compile(function, dynamic=False, fullgraph=True)
