"""Timing on a CPU or a GPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def durations(function: Callable[[], object], repeats: int, warm_up: int = 3) -> list[float]:
    """Sorted milliseconds of `repeats` calls, after `warm_up` calls that do not count.

    Each call is timed from an idle GPU to an idle GPU, if there is one.
    """
    synchronize = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    times = []
    for _ in range(warm_up + repeats):
        synchronize()
        started = time.perf_counter()
        function()
        synchronize()
        times.append(1e3 * (time.perf_counter() - started))
    return sorted(times[warm_up:])


def clock(function: Callable[[], object], repeats: int, warm_up: int = 3) -> float:
    """Median milliseconds of a call; see `durations`."""
    return statistics.median(durations(function, repeats, warm_up))
