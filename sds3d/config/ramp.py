"""Values over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sds3d.config.ranges import UP_TO_ONE


@dataclass(frozen=True)
class Ramp:
    """A value that moves linearly from `start` to `end` over a fraction of a stage, then stays."""

    start: float
    end: float
    over: Annotated[float, UP_TO_ONE] = 1.0  # fraction of the stage after which `end` is reached

    def at(self, progress: float) -> float:
        """The value at `progress` in [0, 1] through the stage."""
        return self.start + (self.end - self.start) * min(progress / self.over, 1.0)
