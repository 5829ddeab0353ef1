"""Many runs at once, in processes that each get a share of the machine and make one run after another.

A process loads Python, torch and the prior once. After a failed run, the remaining runs continue in a new process,
since the GPU may be unusable in the old one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import textwrap
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sds3d.priors.cache import Priors

GRACE = 30.0  # seconds in which a terminated process may save its run
LAST_LINES = 8  # of the output of a failed run, which are printed

Make = Callable[[str], int]  # makes the run of a prompt and returns an exit code; must be picklable


def make_runs(prompts: Sequence[str], config: str, out: Path, jobs: int) -> list[Path]:
    """The run folder of each of `prompts`; makes those runs that are not finished, `jobs` at a time.

    Raises UserError with the prompts of the runs that failed, after trying all.
    """
    from sds3d.config.load import load_config
    from sds3d.errors import UserError
    from sds3d.priors.kinds import prior_ids
    from sds3d.runs.folder import RunFolder
    from sds3d.runs.identity import run_name

    configs = {prompt: load_config(Path(config), [f"out={out}"], prompt) for prompt in prompts}
    ids = {prompt: prior_ids(cfg) for prompt, cfg in configs.items()}
    folders = {prompt: out / run_name(cfg, ids[prompt]) for prompt, cfg in configs.items()}

    def missing() -> list[str]:
        runs = {prompt: RunFolder(folders[prompt], cfg, ids[prompt]) for prompt, cfg in configs.items()}
        return [prompt for prompt, run in runs.items() if not run.finished]

    if waiting := missing():
        each = shares(min(jobs, len(waiting)), usable_cores(), visible_gpus())
        work_through(waiting, partial(generate, config, out), each)
        if failed := missing():
            names = ", ".join(map(repr, failed))
            raise UserError(f"{len(failed)} of {len(configs)} runs are missing: {names}; run the command again")
    return [folders[prompt] for prompt in prompts]


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Adds the option --jobs of a program that makes runs."""
    parser.add_argument("--jobs", type=_count, default=1, metavar="N", help="runs at a time, on all GPUs (default: 1)")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return int(text)


def generate(config: str, out: Path, prompt: str) -> int:
    """Makes one run in this process and returns the exit code of `sds3d generate`."""
    from sds3d.cli.work import work
    from sds3d.config.load import load_config
    from sds3d.priors.kinds import prior_ids
    from sds3d.runs.folder import RunFolder

    cfg = load_config(Path(config), [f"out={out}"], prompt)
    return work(cfg, RunFolder.create(cfg, prior_ids(cfg)), priors=_priors(cfg.device))


@cache
def _priors(device: str) -> Priors:
    """The priors of this process; each run reuses those that an earlier run loaded."""
    from sds3d.native.devices import resolve_device
    from sds3d.priors.cache import Priors

    return Priors(resolve_device(device))


@dataclass(frozen=True)
class Share:
    """The part of the machine that a process may use."""

    cores: frozenset[int] = frozenset()  # empty: all
    gpu: str = ""  # as in CUDA_VISIBLE_DEVICES; empty: unchanged

    def take(self) -> None:
        """Restricts this process to the share.

        Call it before importing torch, since torch, OpenMP and our kernels start a thread for each usable core.
        """
        if self.gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpu
        if self.cores:
            os.sched_setaffinity(0, self.cores)


def shares(jobs: int, cores: Sequence[int], gpus: Sequence[str]) -> list[Share]:
    """`jobs` shares; cores and GPUs are assigned in turn, and several shares have the same one if there are too few."""
    return [
        Share(
            cores=frozenset(cores[index % max(len(cores), 1) :: jobs]),
            gpu=gpus[index % len(gpus)] if len(gpus) > 1 else "",
        )
        for index in range(jobs)
    ]


def usable_cores() -> list[int]:
    """The numbers of the cores that this process may use; empty if the system cannot restrict them."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def visible_gpus() -> list[str]:
    """The GPUs that torch sees, named as in CUDA_VISIBLE_DEVICES."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (named.split(",") if named else [str(index) for index in range(count)])[:count]


def work_through(prompts: Sequence[str], make: Make, each: Sequence[Share]) -> None:
    """Calls `make` for all `prompts`, in one process for each share; prints the results to stderr."""
    waiting, done = deque(prompts), 0
    with tempfile.TemporaryDirectory(prefix="sds3d-runs-") as logs, _exit_on_signals():
        workers = [Worker(make, share, Path(logs) / f"{index}.log") for index, share in enumerate(each)]
        try:
            while waiting or any(worker.prompt for worker in workers):
                for worker in workers:
                    if waiting and not worker.prompt:
                        worker.begin(waiting.popleft())
                busy = {worker.connection: worker for worker in workers if worker.prompt}
                for connection in wait(list(busy)):
                    done += 1
                    print(f"{done} of {len(prompts)}: {busy[connection].finish()}", file=sys.stderr, flush=True)
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.join()


class Worker:
    """A process that makes runs, started at its first run; `prompt` is that of the current run, or empty."""

    def __init__(self, make: Make, share: Share, log: Path) -> None:
        self.make, self.share, self.log = make, share, log
        self.process: multiprocessing.process.BaseProcess | None = None
        self.connection: Connection | None = None
        self.prompt = ""
        self.began = 0.0

    def begin(self, prompt: str) -> None:
        """Starts the run of `prompt` in the process."""
        if self.process is None:
            context = multiprocessing.get_context("spawn")  # a fork could not use CUDA
            self.connection, other_end = context.Pipe()
            arguments = (other_end, self.make, self.share, self.log)
            self.process = context.Process(target=serve, args=arguments, daemon=True)
            self.process.start()
            other_end.close()
        self.log.unlink(missing_ok=True)
        self.prompt, self.began = prompt, time.perf_counter()
        self.connection.send(prompt)

    def finish(self) -> str:
        """Receives the result of the current run and describes it; ends the process if the run failed."""
        prompt, self.prompt = self.prompt, ""
        try:
            code = self.connection.recv()
        except (EOFError, ConnectionError):  # the process has died
            self.process.join()
            code = self.process.exitcode
        if code == 0:
            return f"{prompt} ({time.perf_counter() - self.began:.1f} s)"
        self.terminate()
        self.join()
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return f"{prompt}: failed with code {code}\n" + textwrap.indent("\n".join(lines[-LAST_LINES:]), "    ")

    def terminate(self) -> None:
        """Sends SIGTERM, upon which the process saves its run and exits."""
        if self.process is not None:
            self.process.terminate()
            self.connection.close()

    def join(self) -> None:
        """Waits until the process has ended; kills it after GRACE."""
        if self.process is not None:
            self.process.join(GRACE)
            self.process.kill()
            self.process.join()
            self.process = None


def serve(connection: Connection, make: Make, share: Share, log: Path) -> None:
    """The main function of a worker's process: receives prompts and sends exit codes, until `connection` is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # between runs; during a run, `work` handles it
    share.take()
    while True:
        try:
            prompt = connection.recv()
        except EOFError:
            return
        with log.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        try:
            code = make(prompt)
        except Exception:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(code)


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Turns SIGINT and SIGTERM into SystemExit within the block, so that the workers' processes are ended."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except SystemExit:
        print("stopped; run the same command again to continue", file=sys.stderr)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
