"""A worker: takes one job after another from a batch, and keeps the loaded prior between them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sds3d.batch.failures import REASONS, failure_of
from sds3d.batch.plan import RUNS
from sds3d.batch.status import Reporter, Role
from sds3d.batch.store import BEAT_SECONDS, Lease, LeaseLost, Record, State, Store, failure
from sds3d.errors import UserError

if TYPE_CHECKING:
    from sds3d.priors.cache import Priors

IDLE_SECONDS = 0.5


@dataclass
class Worker:
    """Makes the assets of a batch in this process, until none waits or `stop()` is true."""

    store: Store
    priors: Priors
    reporter: Reporter
    attempts: int
    stop: Callable[[], bool]
    role: Role = "all"
    max_jobs: int = 50  # then the process ends, which frees what its libraries hold
    lost: threading.Event = field(default_factory=threading.Event)  # the lease was taken back

    def work(self) -> bool:
        """Takes jobs until none is left or `stop()` is true; returns whether this process can be used any more."""
        state: State = "optimized" if self.role == "finish" else "pending"
        for _ in range(self.max_jobs):
            lease = self.next_lease(state)
            if lease is None:
                return True
            if not self.make(lease):
                return False
        return True

    def next_lease(self, state: State) -> Lease | None:
        """The next job in `state`, after a wait if work of others may bring one; None if none will come."""
        while not self.stop():
            self.store.take_back(self.attempts)
            if lease := self.store.claim(state):
                return lease
            if not self.store.may_bring(state):
                return None
            time.sleep(IDLE_SECONDS)
        return None

    def make(self, lease: Lease) -> bool:
        """Works on one job; False if this process cannot be used any more."""
        record, begun = lease.record, time.monotonic()
        usable = True
        with suppress(LeaseLost):
            try:
                with self.working_on(lease):
                    state = self.attempt(record)
            except Exception as error:
                usable = self.settle_failure(lease, error)
            except BaseException:  # a signal: the job waits for the next worker
                lease.settle(lease.came_from)
                raise
            else:
                lease.settle(state, seconds=round(record.seconds + time.monotonic() - begun, 3))
        return usable

    def attempt(self, record: Record) -> State:
        """Makes the asset, or this worker's part of it; returns the job's next state."""
        from sds3d.optimization.loop import optimize
        from sds3d.optimization.threads import threads_restored
        from sds3d.pipeline import make_asset
        from sds3d.preflight.check import preflight
        from sds3d.priors.kinds import prior_ids
        from sds3d.runs.folder import RunFolder
        from sds3d.runs.identity import run_name

        path = self.store.folder / RUNS / record.name
        run, cfg = RunFolder.open(path, lambda cfg: prior_ids(cfg, preflight(cfg)))
        if run_name(cfg, run.prior_ids) != record.name:
            raise UserError(f"{path}: its config or the prior's weights have changed; run the same batch again")
        with run.locked():
            if run.finished:
                return "done"
            if self.role == "optimize":
                with threads_restored():
                    optimized = optimize(cfg, run, self.priors, self.reporter, self.stopped)
                return "optimized" if optimized.finished else "pending"
            report = make_asset(cfg, run, self.priors, self.reporter, self.stopped)
        return "pending" if report is None else "done"

    def stopped(self) -> bool:
        """Whether to save the run and leave it."""
        return self.lost.is_set() or self.stop()

    def settle_failure(self, lease: Lease, error: Exception) -> bool:
        """Ends a lease after an error; returns whether this process can go on."""
        failed = failure_of(error)
        reason = REASONS[failed.reason]
        text = f"{lease.record.name}: {failed.reason}: {failed.message}\n{failed.traceback}"
        print(text.rstrip(), file=sys.stderr, flush=True)
        attempts = self.attempts if reason.again else 0
        state, changes = failure(
            lease.record, attempts, reason=failed.reason, message=failed.message, traceback=failed.traceback
        )
        lease.settle(state, **changes)
        return not reason.worker_ends

    @contextmanager
    def working_on(self, lease: Lease) -> Iterator[None]:
        """Reports the job, and touches its lease every few seconds; sets `lost` if it was taken back."""
        done = threading.Event()
        self.lost.clear()
        self.reporter.begin(lease.record)

        def beat() -> None:
            while not done.wait(BEAT_SECONDS):
                try:
                    lease.beat()
                except (LeaseLost, OSError):
                    self.lost.set()
                    return

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        succeeded = False
        try:
            yield
            succeeded = True
        finally:
            done.set()
            thread.join()
            self.reporter.end(succeeded)
