"""The number of PyTorch's CPU threads, on which results depend.

Matrix products and convolutions of MKL and oneDNN split their sums among the threads, and oneDNN has no setting that
makes them equal for every number. So a run keeps the number that it began with. The number of processors does not
matter: two threads compute the same on one processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads_restored() -> Iterator[None]:
    """Restores the number of threads at its end: that of a resumed run must not reach the next run of the process."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        use_threads(before)


def use_threads(number: int) -> list[str]:
    """Sets the number of threads; returns a message for the user if it was another."""
    before = torch.get_num_threads()
    if number == before:
        return []
    torch.set_num_threads(number)
    return [f"using {number} CPU threads, not {before}: the run began with {number}, and its results depend on it"]
