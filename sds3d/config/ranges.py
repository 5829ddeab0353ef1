"""Ranges of numbers, declared in the type of a field: `rescale: Annotated[float, FRACTION] = 0.0`."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """The numbers that a field may hold, for a Ramp or a tuple each of its values; both ends included unless open."""

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    multiple: int = 1

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below and (self.multiple == 1 or value % self.multiple == 0)

    def __str__(self) -> str:
        low = f"{'more than' if self.open_low else 'at least'} {self.low:.12g}"
        high = f" and {'less than' if self.open_high else 'at most'} {self.high:.12g}"
        steps = f"a multiple of {self.multiple}, " if self.multiple > 1 else ""
        return steps + low + ("" if self.high == math.inf else high)


FRACTION = Range(0, 1)
INSIDE = Range(0, 1, open_low=True, open_high=True)
UP_TO_ONE = Range(0, 1, open_low=True)
POSITIVE = Range(0, math.inf, open_low=True)
NON_NEGATIVE = Range(0)
COUNT = Range(1)
PIXELS = Range(16, 1024, multiple=16)
GUIDANCE = Range(0, 1000)
