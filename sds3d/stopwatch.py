"""Wall time of the parts of a job."""

from __future__ import annotations

import time


class Stopwatch:
    """`seconds` maps the name of each lap to its duration."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.perf_counter()

    def lap(self, name: str) -> None:
        """Records the time since the last lap under `name`."""
        now = time.perf_counter()
        self.seconds[name], self._started = now - self._started, now
