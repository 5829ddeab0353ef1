"""Timing on a GPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def clock(function: Callable[[], object], repeats: int, warm_up: int = 3) -> float:
    """Median milliseconds from an idle GPU to an idle GPU, after `warm_up` calls that do not count."""
    times = []
    for _ in range(warm_up + repeats):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        function()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(times[warm_up:])
