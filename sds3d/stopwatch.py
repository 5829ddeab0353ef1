"""How long the parts of a job take."""

from __future__ import annotations

import time


class Stopwatch:
    """`seconds` by name of the laps since it was made."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.perf_counter()

    def lap(self, name: str) -> None:
        """Books the time since the last lap under `name`."""
        now = time.perf_counter()
        self.seconds[name], self._started = now - self._started, now
