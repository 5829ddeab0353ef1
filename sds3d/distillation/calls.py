"""How many network calls a gradient takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Calls:
    """The network calls for one gradient."""

    count: int
    texts: int  # prompts in the largest call
    learns: bool = False  # whether some calls have a backward pass
