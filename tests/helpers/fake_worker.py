"""A worker process whose jobs take no time and need no torch; each ends as its prompt says.

Takes the arguments of `sds3d worker`. Beside its folder, started/NAME counts the attempts.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from sds3d.batch.plan import Settings
from sds3d.batch.status import Reporter
from sds3d.batch.store import Record, State, Store
from sds3d.batch.worker import Worker
from sds3d.cli.work import Signals


class FakeWorker(Worker):
    """Does as the prompt says instead of making an asset."""

    def attempt(self, record: Record) -> State:
        started = self.store.folder / "started" / record.name
        started.parent.mkdir(exist_ok=True)
        with started.open("a") as file:
            gpu, cores = os.environ.get("CUDA_VISIBLE_DEVICES", ""), sorted(os.sched_getaffinity(0))
            file.write(f"{os.getpid()}|{gpu}|{','.join(map(str, cores))}\n")
        attempt = len(started.read_text().splitlines())
        match record.prompt.split(" ")[0]:
            case "raises":
                raise RuntimeError("a mistake")
            case "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            case "dies-once" if attempt == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            case "faults":
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            case "hangs":
                time.sleep(600)
            case "waits":  # until it may go on, as a run does between its blocks
                self.reporter.start(10, 0)
                while not self.stopped():
                    self.reporter.advance(1)
                    time.sleep(0.05)
                return "pending"
        if self.role == "optimize":
            return "optimized"
        return "done"


def main() -> int:
    folder, options = Path(sys.argv[1]), dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
    settings = Settings.load(folder)
    parent = int(options["--parent"])
    with Signals() as signals:
        reporter = Reporter(
            folder, options["--role"], int(options["--slot"]), signals.poll_from_now_on, signals.raise_from_now_on
        )
        try:
            worker = FakeWorker(
                Store(folder), None, reporter, settings.attempts,
                lambda: signals.stopped or os.getppid() != parent, options["--role"],
            )  # fmt: skip
            return 0 if worker.work() else 70
        finally:
            reporter.close()


if __name__ == "__main__":
    sys.exit(main())
