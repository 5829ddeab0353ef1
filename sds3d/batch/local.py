"""The engine of one machine: worker processes on its GPUs or cores, watched until no job is left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sds3d.batch.machine import Share, shares, usable_cores, visible_gpus
from sds3d.batch.status import Role, statuses
from sds3d.batch.store import Store

POLL_SECONDS = 0.2
PAGES_SECONDS = 10.0  # between two writes of gallery and failures while the batch runs
GRACE_SECONDS = 60.0  # for a worker to save its run
MAX_FAULTS = 3  # jobs in a row that end the process of a slot; then it gets no more work
EXIT_STOPPED = 75
CORES_TO_FINISH = 2  # of a process that makes meshes and films
FINISHERS = 6  # for each GPU, at most
LOGS = "logs"
WORKER = (sys.executable, "-m", "sds3d.cli.main", "worker")


@dataclass
class Slot:
    """A place for a worker process: its share of the machine, and the process that has it now."""

    number: int
    share: Share
    role: Role = "all"
    process: subprocess.Popen[bytes] | None = None
    faulty: set[str] = field(default_factory=set)  # jobs in a row that ended its process
    closed: bool = False  # after MAX_FAULTS of them

    def ended(self, job: str) -> None:
        """Its process has ended on this job, or on none if empty."""
        self.process = None
        if job:
            self.faulty.add(job)
            self.closed = len(self.faulty) >= MAX_FAULTS


def make_slots(device: str, workers: int | None) -> list[Slot]:
    """A slot for each of `workers`; the default is one for each GPU, or one without a GPU.

    Beside each GPU, processes that make meshes and films keep it free for the optimization of the next prompt.
    """
    gpus = visible_gpus() if device in ("auto", "cuda") else []
    cores = usable_cores()
    if not gpus:
        return [Slot(number, share) for number, share in enumerate(shares(workers or 1, cores, gpus))]
    optimizing = shares(workers or len(gpus), [], gpus)
    finishing = shares(max(1, min(len(cores) // CORES_TO_FINISH, FINISHERS * len(optimizing))), [], gpus)
    slots = [Slot(number, share, "optimize") for number, share in enumerate(optimizing)]
    return slots + [Slot(len(slots) + number, share, "finish") for number, share in enumerate(finishing)]


@dataclass
class Engine:
    """Runs the workers of a batch."""

    store: Store
    slots: Sequence[Slot]
    attempts: int
    stop: Callable[[], bool]
    watch: Callable[[], None]  # called at every poll: shows the progress
    write_pages: Callable[[], None]
    stall_seconds: float = 600.0
    timeout_seconds: float = 0.0  # of a job; 0: none
    command: tuple[str, ...] = WORKER  # takes a folder, --slot, --role and --parent

    def run(self) -> None:
        """Works until no job is left, no slot is left, or `stop()` is true."""
        (self.store.folder / LOGS).mkdir(exist_ok=True)
        pages_at = 0.0
        try:
            while not self.stop():
                self.store.take_back(self.attempts)
                running = self.tend_slots()
                self.kill_stalled()
                self.watch()
                if time.monotonic() - pages_at > PAGES_SECONDS:
                    self.write_pages()
                    pages_at = time.monotonic()
                if not running:
                    break
                time.sleep(POLL_SECONDS)
        finally:
            self.end_workers()
            self.store.take_back(self.attempts)
            self.write_pages()
            self.watch()

    def tend_slots(self) -> bool:
        """Starts a process where a slot has none and work waits; returns whether any process runs."""
        productive = {status.pid for status in statuses(self.store.folder) if status.jobs}
        for slot in self.slots:
            if slot.process is not None:
                if slot.process.pid in productive:
                    slot.faulty.clear()
                if (code := slot.process.poll()) is not None:
                    self.store.take_back(self.attempts)
                    slot.ended("" if code in (0, EXIT_STOPPED) else self.store.last_job_of(slot.process.pid))
            if slot.process is None and not slot.closed and self.has_work(slot.role):
                slot.process = self.start(slot)
        return any(slot.process is not None for slot in self.slots)

    def has_work(self, role: Role) -> bool:
        """Whether a job waits for a worker of this role."""
        return bool(self.store.first("optimized" if role == "finish" else "pending"))

    def start(self, slot: Slot) -> subprocess.Popen[bytes]:
        """A new process in `slot`, in a session of its own: Ctrl-C reaches it only through this engine."""
        log = self.store.folder / LOGS / f"worker-{slot.number}.log"
        command = [*self.command, str(self.store.folder), "--slot", str(slot.number), "--role", slot.role]
        with log.open("ab") as stream:
            process = subprocess.Popen(
                [*command, "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                env={**os.environ, **slot.share.environment()}, start_new_session=True,
            )  # fmt: skip
        slot.share.pin(process.pid)
        return process

    def kill_stalled(self) -> None:
        """Ends processes whose job makes no progress or takes too long; their jobs are taken back with the reason."""
        now = time.time()
        by_pid = {slot.process.pid: slot.process for slot in self.slots if slot.process is not None}
        for status in statuses(self.store.folder):
            process = by_pid.get(status.pid)
            if process is None or not status.job:
                continue
            if self.timeout_seconds and now - status.began > self.timeout_seconds:
                self.kill(process, "too long")
            elif now - status.moved > self.stall_seconds:
                self.kill(process, "stalled")

    def kill(self, process: subprocess.Popen[bytes], reason: str) -> None:
        """Ends a process at once, and takes its job back for `reason`."""
        process.kill()
        process.wait()
        self.store.take_back(self.attempts, {process.pid: reason})

    def end_workers(self) -> None:
        """Lets all processes save their runs and end; kills those that do not."""
        processes = [slot.process for slot in self.slots if slot.process is not None]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
