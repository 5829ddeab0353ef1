"""The shares of this machine that the workers of a batch get: a GPU each, or cores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """What a process may use of the machine."""

    cores: frozenset[int] = frozenset()  # empty: all
    gpu: str = ""  # as in CUDA_VISIBLE_DEVICES; empty: as it is

    def environment(self) -> dict[str, str]:
        """The environment variables of a process that gets this share."""
        variables = {"CUDA_VISIBLE_DEVICES": self.gpu} if self.gpu else {}
        return variables | ({"OMP_NUM_THREADS": str(len(self.cores))} if self.cores else {})

    def pin(self, pid: int) -> None:
        """Confines a process that has just started, and all its threads, to the cores of this share."""
        if self.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(pid, self.cores)


def shares(workers: int, cores: Sequence[int], gpus: Sequence[str]) -> list[Share]:
    """`workers` shares: cores and GPUs are dealt out in turn, and shared where there are fewer of them."""
    return [
        Share(
            cores=frozenset(cores[index % max(len(cores), 1) :: workers]),
            gpu=gpus[index % len(gpus)] if len(gpus) > 1 else "",
        )
        for index in range(workers)
    ]


def usable_cores() -> list[int]:
    """The numbers of the cores that this process may use; none where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def visible_gpus() -> list[str]:
    """The GPUs that torch sees, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (named.split(",") if named else [str(index) for index in range(count)])[:count]
