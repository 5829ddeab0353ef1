"""What a run does about a prior whose answers are not numbers: skip, go back with smaller steps, give up."""

from __future__ import annotations

from dataclasses import asdict, dataclass

PATIENCE = 10  # bad answers in a row before the run goes back
MAX_ROLLBACKS = 3  # the last of them ends the run


class Diverged(Exception):
    """The run has to go back to its last checkpoint."""


@dataclass
class Guard:
    """Counts bad answers; belongs to the checkpoint."""

    skipped: int = 0  # blocks whose target was not finite, in all
    in_a_row: int = 0
    rollbacks: int = 0

    @property
    def rate(self) -> float:
        """Factor of all learning rates: halved by each roll-back."""
        return 0.5**self.rollbacks

    def observe(self, answered: bool, intact: bool) -> None:
        """Note a block: whether its target was finite, and whether the scene still is; Diverged if that is too bad."""
        self.in_a_row = 0 if answered else self.in_a_row + 1
        self.skipped += not answered
        if self.in_a_row >= PATIENCE:
            raise Diverged(f"{PATIENCE} answers of the prior in a row were not all numbers")
        if not intact:
            raise Diverged("the scene was no longer made of numbers")

    def roll_back(self) -> None:
        """Begin again from the last checkpoint."""
        self.in_a_row = 0
        self.rollbacks += 1

    def numbers(self) -> dict[str, int]:
        """By name, for JSON."""
        return asdict(self)
