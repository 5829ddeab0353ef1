"""What a run does about predictions that are not finite: skip them, go back with smaller steps, abort.

Too few in a row for that may be all that a short stage has, which the loop checks at the end of a stage.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

PATIENCE = 10  # bad predictions in a row before the run goes back
MAX_ROLLBACKS = 3  # the last of them aborts the run


class Diverged(Exception):
    """The run has to go back to its last checkpoint."""


@dataclass
class Guard:
    """Counts predictions that were not finite; belongs to the checkpoint."""

    skipped: int = 0  # blocks whose target was not finite, in all
    in_a_row: int = 0
    rollbacks: int = 0

    @property
    def rate(self) -> float:
        """Factor of all learning rates: halved by each roll-back."""
        return 0.5**self.rollbacks

    def observe(self, target_is_finite: bool, scene_is_finite: bool) -> None:
        """Counts a block; Diverged if too many targets in a row were not finite, or the scene is not."""
        self.in_a_row = 0 if target_is_finite else self.in_a_row + 1
        self.skipped += not target_is_finite
        if self.in_a_row >= PATIENCE:
            raise Diverged(f"{PATIENCE} predictions of the prior in a row were not finite")
        if not scene_is_finite:
            raise Diverged("the scene became non-finite")

    def roll_back(self) -> None:
        """Notes that the run begins again from its last checkpoint."""
        self.in_a_row = 0
        self.rollbacks += 1

    def numbers(self) -> dict[str, int]:
        """The counts by name, for JSON."""
        return asdict(self)
