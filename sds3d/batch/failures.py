"""Why a job failed: a class, a line, and whether another attempt can help."""

from __future__ import annotations

import errno
import traceback
from dataclasses import dataclass

from sds3d.errors import UserError

MAX_MESSAGE = 500  # characters
MAX_TRACEBACK = 4000


@dataclass(frozen=True)
class Failure:
    """One failed attempt."""

    reason: str  # a key of REMEDIES
    message: str
    traceback: str = ""  # of an error that is not the user's


@dataclass(frozen=True)
class Reason:
    """A class of failures."""

    remedy: str
    again: bool  # whether another attempt can help
    worker_ends: bool = False  # whether the process cannot be used any more


REASONS = {
    "refused": Reason("change what the message names, in the prompts or the config; the job then is a new one", False),
    "disk full": Reason("make room; then: sds3d batch retry", True, worker_ends=True),
    "out of memory": Reason("lower max_gaussians, the resolution or num_orbits, or use fewer workers", True, True),
    "device fault": Reason("check the GPU (nvidia-smi, the system log); then: sds3d batch retry", True, True),
    "worker died": Reason("look for an out-of-memory kill in the system log, or use fewer workers", True),
    "stalled": Reason("raise --stall if steps are that slow; otherwise check the GPU", True),
    "too long": Reason("raise --timeout, or lower the stages' steps", False),
    "crashed": Reason("this is a fault of the program: report it with the traceback in failures.jsonl", True),
}


def failure_of(error: BaseException) -> Failure:
    """The failure that an exception of a job stands for."""
    message = " ".join(str(error).split())[:MAX_MESSAGE]
    causes = _causes(error)
    if any(isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError" for cause in causes):
        return Failure("out of memory", message)
    if any(isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT) for cause in causes):
        return Failure("disk full", message)
    if isinstance(error, UserError):
        return Failure("refused", message)
    text = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
    if isinstance(error, RuntimeError) and ("CUDA error" in message or "CUDA_ERROR" in message):
        return Failure("device fault", message, text)
    return Failure("crashed", f"{type(error).__name__}: {message}", text)


def _causes(error: BaseException) -> list[BaseException]:
    """The exception and those that it was raised from."""
    causes: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in causes:
        causes.append(following)
        following = following.__cause__
    return causes
