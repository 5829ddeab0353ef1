"""What each worker of a batch does now: a small file a worker, read by the engine and by `sds3d batch status`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sds3d.batch.store import Record, owner_is_alive, owner_name
from sds3d.files import read_json

Role = Literal["all", "optimize", "finish"]
WORKERS = "workers"
EVERY_SECONDS = 0.5  # between two writes


@dataclass(frozen=True)
class Status:
    """What a worker does now. Times are seconds since the epoch."""

    pid: int
    slot: int = 0  # of the engine
    role: Role = "all"
    job: str = ""  # empty: it waits
    prompt: str = ""
    stage: str = ""
    step: int = 0
    total_steps: int = 0
    began: float = 0.0  # of the job
    moved: float = 0.0  # the last progress
    jobs: int = 0  # that succeeded


class Reporter:
    """The Observer of a worker's runs: keeps its status on disk."""

    def __init__(
        self,
        folder: Path,
        role: Role,
        slot: int,
        poll: Callable[[], None],
        when_finishing: Callable[[], None],
    ) -> None:
        """Calls `when_finishing` after the last step of a job, since nobody polls for signals then, and `poll` when
        somebody does again.
        """
        self.path = folder / WORKERS / f"{owner_name()}.json"
        self.path.parent.mkdir(exist_ok=True)
        self.poll, self.when_finishing = poll, when_finishing
        self.written = 0.0
        self.status = Status(os.getpid(), slot, role)

    def begin(self, record: Record) -> None:
        """The worker takes this job."""
        now, before = time.time(), self.status
        self.status = Status(
            before.pid, before.slot, before.role, record.name, record.prompt, began=now, jobs=before.jobs
        )
        self.written = 0.0
        self._report()

    def end(self, succeeded: bool) -> None:
        """The worker has ended its job."""
        self.poll()
        self.status = replace(self._waiting(), jobs=self.status.jobs + succeeded)
        self.written = 0.0
        self._report()

    def close(self) -> None:
        """The worker ends."""
        self.path.unlink(missing_ok=True)

    def start(self, total_steps: int, initial: int) -> None:
        self._report(step=initial, total_steps=total_steps)

    def stage(self, name: str) -> None:
        if name != self.status.stage:
            self._report(stage=name)

    def advance(self, step: int, **numbers: float) -> None:
        self._report(step=step)

    def on_block(self, step: int, scene: object) -> None:
        """Does nothing: the run's folder has previews of the scene."""

    def finishing(self) -> None:
        self._report(stage="finish")
        self.when_finishing()

    def note(self, text: str) -> None:
        print(f"{self.status.job}: {text}", flush=True)
        self._report()

    def _waiting(self) -> Status:
        return Status(self.status.pid, self.status.slot, self.status.role, jobs=self.status.jobs)

    def _report(self, **changes: Any) -> None:
        now = time.time()
        self.status = replace(self.status, moved=now, **changes)
        if now - self.written < EVERY_SECONDS:
            return
        self.written = now
        partial = self.path.with_suffix(".tmp")
        with suppress(OSError):  # a full disk stops the job where it writes, with a reason
            partial.write_text(json.dumps(asdict(self.status)), encoding="utf-8")
            os.replace(partial, self.path)


def statuses(folder: Path) -> list[Status]:
    """What the living workers of a batch do now, by slot."""
    found = []
    for path in (folder / WORKERS).glob("*.json"):
        if owner_is_alive(path.stem) is False:  # killed, so that it could not clean up
            path.unlink(missing_ok=True)
            continue
        with suppress(OSError, ValueError, TypeError):
            found.append(Status(**read_json(path)))
    return sorted(found, key=lambda status: (status.slot, status.pid))
