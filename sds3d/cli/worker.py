"""sds3d worker: work on a batch until no job is left, beside other workers, on this machine or another."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from sds3d.files import user_path

if TYPE_CHECKING:
    from sds3d.config.schema import Device

EXIT_UNUSABLE = 70  # EX_SOFTWARE: another process must go on


def main(argv: list[str]) -> int:
    """Returns 0 when no job is left, 70 after an error that spoils the process, 75 if it was stopped."""
    parser = argparse.ArgumentParser("sds3d worker", description=__doc__)
    parser.add_argument("folder", type=user_path, help="a batch's folder, as `sds3d batch` printed it")
    parser.add_argument("--role", choices=("all", "optimize", "finish"), default="all", help="part of the work")
    parser.add_argument("--device", help="auto, cpu or cuda (default: the batch's)")
    parser.add_argument("--max-jobs", type=int, default=50, metavar="N", help="end after N jobs (default 50)")
    parser.add_argument("--slot", type=int, default=0, metavar="K", help="number in the display")
    parser.add_argument("--parent", type=int, metavar="PID", help="stop when this process has ended")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    args = parser.parse_args(argv)

    from sds3d.batch.plan import STOP, Settings
    from sds3d.batch.status import Reporter
    from sds3d.batch.store import Store
    from sds3d.batch.worker import Worker
    from sds3d.cli.work import EXIT_STOPPED, Interrupted, Signals
    from sds3d.native.devices import begin_context, resolve_device
    from sds3d.native.gc_pause import no_collection

    settings = Settings.load(args.folder)
    wanted: Device = args.device or settings.device
    begin_context(wanted)
    with no_collection():
        device = resolve_device(wanted)
        from sds3d.priors.cache import Priors

    with Signals() as signals:

        def stop() -> bool:
            orphan = args.parent is not None and os.getppid() != args.parent
            return signals.stopped or orphan or (args.folder / STOP).exists()

        reporter = Reporter(args.folder, args.role, args.slot, signals.poll_from_now_on, signals.raise_from_now_on)
        worker = Worker(Store(args.folder), Priors(device), reporter, settings.attempts, stop, args.role, args.max_jobs)
        try:
            usable = worker.work()
        except Interrupted:
            return EXIT_STOPPED
        finally:
            reporter.close()
        return EXIT_STOPPED if stop() else 0 if usable else EXIT_UNUSABLE
