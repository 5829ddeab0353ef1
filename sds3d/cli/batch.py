"""sds3d batch: an asset for each prompt of a file. The same command continues a batch that was stopped."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sds3d.cli.prior_option import HELP, preset_for, prior_overrides
from sds3d.files import user_path

if TYPE_CHECKING:
    from sds3d.batch.store import Store

EPILOG = """\
files of prompts:
  .txt      a prompt on each line
  .csv      a column named prompt; columns id and seed; every other column is a key such as mesh.faces
  .jsonl    on each line a text, or {"prompt": ..., "id": ..., "mesh.faces": 5000}
  .yaml     a list of the same

examples:
  sds3d batch prompts.txt --seeds 4
  sds3d batch prompts.csv --config quality out=/data --sweep mesh.faces=5000,20000
  sds3d batch status outputs/prompts --watch
"""
COMMANDS = {
    "status": "what is done, what each worker does, what failed and why",
    "stop": "lets all workers save their runs and end",
    "retry": "lets failed jobs wait again",
    "clean": "deletes checkpoints of finished jobs, and runs that are no longer in the prompts",
}


def main(argv: list[str]) -> int:
    """Returns 0 if every asset is made, 1 if some failed, 2 after an error in the command, 75 if stopped."""
    if argv and argv[0] in COMMANDS:
        return _command(argv[0], argv[1:])
    parser = argparse.ArgumentParser(
        "sds3d batch",
        usage="sds3d batch PROMPTS [--config FILE] [--seeds N] [--sweep KEY=A,B] [--workers N] [key=value ...]\n"
        "       sds3d batch {status,stop,retry,clean} FOLDER",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prompts", type=user_path, metavar="PROMPTS", help="a file of prompts, or a word above")
    parser.add_argument("words", nargs="*", metavar="key=value", help="config values for all prompts")
    parser.add_argument("--config", type=user_path, metavar="FILE", help="a YAML file, or the name of a preset")
    parser.add_argument("--prior", metavar="PATH_OR_NAME", help=HELP)
    parser.add_argument("--seeds", type=_count, default=1, metavar="N", help="assets of each prompt (default 1)")
    parser.add_argument("--sweep", action="append", default=[], metavar="KEY=A,B", help="an asset for each value")
    parser.add_argument("--workers", type=_count, metavar="N", help="processes (default: one a GPU, or one)")
    parser.add_argument("--attempts", type=_count, default=3, metavar="N", help="of a job that fails (default 3)")
    parser.add_argument("--timeout", type=float, default=0.0, metavar="MINUTES", help="of a job (default: none)")
    parser.add_argument("--stall", type=float, default=10.0, metavar="MINUTES", help="without progress (default 10)")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    return _run(parser.parse_intermixed_args(argv))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {text!r}")
    return int(text)


def _run(args: argparse.Namespace) -> int:
    from sds3d.batch.gallery import NAME, write_pages
    from sds3d.batch.local import Engine, make_slots
    from sds3d.batch.plan import STOP, Request, Settings, make_jobs, put_into
    from sds3d.batch.prompts import read_prompts
    from sds3d.batch.store import Store
    from sds3d.cli.batch_display import make_display
    from sds3d.cli.work import EXIT_STOPPED, Signals
    from sds3d.preflight.check import preflight
    from sds3d.priors.kinds import prior_ids

    chosen = (*prior_overrides(args.prior), *args.words)
    request = Request(args.config or preset_for(args.prior), chosen, tuple(args.sweep), args.seeds)
    rows = read_prompts(args.prompts)
    folder = request.folder(args.prompts)
    jobs = make_jobs(rows, request, folder, lambda cfg: prior_ids(cfg, preflight(cfg)))
    store = Store(folder)
    store.create()
    with store.planning():
        changes = put_into(store, jobs, args.attempts)
        Settings(args.attempts, jobs[0].cfg.device).save(folder)
        (folder / STOP).unlink(missing_ok=True)
    print(f"{folder}: {changes}", file=sys.stderr)
    with Signals() as signals:
        slots = make_slots(jobs[0].cfg.device, args.workers)
        with make_display(sys.stderr) as display:
            engine = Engine(
                store, slots, args.attempts, lambda: signals.stopped or (folder / STOP).exists(),
                watch=lambda: display.show(store), write_pages=lambda: write_pages(store, running=True),
                stall_seconds=60 * args.stall, timeout_seconds=60 * args.timeout,
            )  # fmt: skip
            engine.run()
        write_pages(store, running=False)
    counts = store.counts()
    left = counts["pending"] + counts["optimized"] + counts["leased"]
    print(f"{folder / NAME}: {counts['done']} finished, {counts['failed']} failed, {left} waiting")
    if left and (signals.stopped or (folder / STOP).exists()):
        print("stopped; run the same command again to continue", file=sys.stderr)
        return EXIT_STOPPED
    if counts["failed"] or left:
        print(f"why: sds3d batch status {shlex.quote(str(folder))}", file=sys.stderr)
        return 1
    return 0


def _command(name: str, argv: list[str]) -> int:
    parser = argparse.ArgumentParser(f"sds3d batch {name}", description=COMMANDS[name])
    parser.add_argument("folder", type=user_path, help="the batch's folder, as `sds3d batch` printed it")
    if name == "status":
        parser.add_argument("--watch", action="store_true", help="go on showing it until the batch ends")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    args = parser.parse_args(argv)

    from sds3d.batch.plan import Settings
    from sds3d.batch.store import Store

    Settings.load(args.folder)  # UserError if there is no batch
    store = Store(args.folder)
    match name:
        case "status":
            return _status(store, args.watch)
        case "stop":
            return _stop(store)
        case "retry":
            return _retry(store)
    return _clean(store)


def _status(store: Store, watch: bool) -> int:
    from sds3d.batch.status import statuses
    from sds3d.cli.batch_display import failure_lines, make_display, table

    if watch and sys.stdout.isatty():
        with make_display(sys.stdout) as display:
            while statuses(store.folder):
                display.show(store)
                time.sleep(1.0)
    print("\n".join([*table(store), *failure_lines(store)]))
    return 1 if store.counts()["failed"] else 0


def _stop(store: Store) -> int:
    from sds3d.batch.plan import STOP
    from sds3d.files import atomic_write

    atomic_write(store.folder / STOP, "")
    print("the workers save their runs and end; run the same `sds3d batch` again to continue")
    return 0


def _retry(store: Store) -> int:
    failed = store.records("failed")
    for record in failed:
        store.move(record, "failed", "pending", attempts=0)
    print(f"{len(failed)} jobs wait again; run the same `sds3d batch` again")
    return 0


def _clean(store: Store) -> int:
    from sds3d.batch.plan import RUNS
    from sds3d.files import megabytes

    freed = 0
    for record in store.records("done"):
        for part in ("checkpoints", "previews"):
            freed += _delete(store.folder / RUNS / record.name / part)
    for record in store.records("dropped"):
        freed += _delete(store.folder / RUNS / record.name)
        store.forget(record, "dropped")
    print(f"{megabytes(freed)} freed")
    return 0


def _delete(path: Path) -> int:
    """Deletes a folder of the batch and returns its bytes; a link is left alone."""
    if path.is_symlink() or not path.is_dir():
        return 0
    size = sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())
    shutil.rmtree(path)
    return size
