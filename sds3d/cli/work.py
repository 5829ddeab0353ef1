"""The work of `generate` and `resume`: make the asset, print its files, and stop on a signal without losing a step."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from sds3d.config.schema import Config, PriorConfig
from sds3d.native.devices import begin_context
from sds3d.native.gc_pause import no_collection
from sds3d.priors.kinds import GUESSED, kind_of, nonfinite_remedy, unseen_words_of
from sds3d.priors.weights import Found
from sds3d.representations.viewers import OPENED_BY as SCENE_OPENED_BY
from sds3d.runs.folder import RunFolder

if TYPE_CHECKING:
    from sds3d.priors.cache import Priors

OPENED_BY = {".glb": "opens in Blender"} | SCENE_OPENED_BY  # by suffix, for files other than images and videos
EXIT_STOPPED = 75  # EX_TEMPFAIL: the same command continues the run


class Interrupted(BaseException):
    """A signal arrived while no loop was polling for it."""


class Signals:
    """Turns signals into a flag that a loop polls; a second SIGINT ends the process at once.

    SIGHUP comes when the terminal closes; where it is ignored, as under nohup, it stays so.
    """

    NUMBERS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)

    def __init__(self) -> None:
        self.stopped = False
        self.polled = True  # False: no loop polls the flag, so the first signal raises
        self._raised = False

    def __enter__(self) -> Signals:
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        numbers = [number for number in self.NUMBERS if not (number == signal.SIGHUP and ignored)]
        self._before = {number: signal.signal(number, self._receive) for number in numbers}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def poll_from_now_on(self) -> None:
        """A loop polls the flag again."""
        self.polled = True

    def raise_from_now_on(self) -> None:
        """Makes the next signal raise Interrupted; raises it now if a signal has already arrived."""
        self.polled = False
        if self.stopped:
            self._interrupt()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.stopped and number == signal.SIGINT:
            with suppress(OSError):  # the terminal is gone
                os.write(2, b"\x1b[?25h\n" if sys.stderr.isatty() else b"\n")  # the progress bar hides the cursor
            os._exit(128 + number)
        self.stopped = True
        if not self.polled:
            self._interrupt()

    def _interrupt(self) -> None:
        """Raises Interrupted once: a closing terminal sends SIGHUP from the kernel and again from the shell."""
        if not self._raised:
            self._raised = True
            raise Interrupted


def work(
    cfg: Config, run: RunFolder, found: Mapping[PriorConfig, Found] | None = None, priors: Priors | None = None
) -> int:
    """Makes the asset of `run`, from its newest checkpoint if it has one; returns the exit code.

    `found` holds the weights that preflight has found, `priors` the priors that earlier runs of this process loaded.
    """
    with run.locked(), Signals() as signals:
        try:
            return _work(cfg, run, signals, found, priors)
        except Interrupted:
            return _report_stopped(run)


def report_finished(cfg: Config, run: RunFolder) -> int:
    """Prints the files of a finished run; returns the exit code."""
    print(f"already finished: {run.path}\n" + outputs_text(cfg, run))
    return 0


def outputs_text(cfg: Config, run: RunFolder) -> str:
    """The files of a finished run, and suggested next commands."""
    folder, prompt = shlex.quote(str(run.path)), shlex.quote(cfg.prompt)
    names = list(run.outputs)
    files = "\n".join(f"  {run.path / name}" for name in names)
    look = "; ".join(f"{name} {how}" for name in names for suffix, how in OPENED_BY.items() if name.endswith(suffix))
    text = f"""\
{files}
next:
  look:           preview.png, turntable.mp4; {look}
  other formats:  sds3d export {folder} --format glb,obj,ply
  another try:    sds3d generate --config {folder}/config.yaml seed={cfg.seed + 1} -- {prompt}"""
    if longer := kind_of(cfg.prior).longer_preset:
        text += f"\n  a longer run:   sds3d generate --config {longer} -- {prompt}"
    return text


def skipped_text(cfg: Config, report: dict[str, Any]) -> str:
    """A line for each stage in which non-finite predictions were skipped, such as "\nwarning: ..."; mostly empty."""
    remedies = {stage.name: nonfinite_remedy(cfg.prior_of(stage)) for stage in cfg.stages}
    return "".join(
        f"\nwarning: {counts['skipped']} of {counts['blocks']} predictions of the prior in stage {name} were not "
        f"finite and had no effect; {remedies[name]}"
        for name, counts in report["nonfinite_predictions"]["stages"].items()
    )


def _work(
    cfg: Config, run: RunFolder, signals: Signals, found: Mapping[PriorConfig, Found] | None, priors: Priors | None
) -> int:
    from sds3d.cli.progress import make_progress
    from sds3d.native.devices import resolve_device

    begin_context(cfg.device)
    with no_collection():
        device = resolve_device(cfg.device)  # before the slow imports below
        from sds3d.pipeline import make_asset
        from sds3d.priors.cache import Priors

    progress = make_progress(sys.stderr, signals.raise_from_now_on)
    progress.note(f"{cfg.prompt!r} in {run.path}")
    if words := unseen_words_of(cfg):
        progress.note(f"{GUESSED}: {', '.join(words)}")
    try:
        report = make_asset(cfg, run, priors or Priors(device, found), progress, lambda: signals.stopped)
    finally:
        progress.close()
    if report is None:
        return _report_stopped(run)
    print(f"finished: {run.path}\n" + outputs_text(cfg, run) + skipped_text(cfg, report))
    return 0


def _report_stopped(run: RunFolder) -> int:
    print(f"stopped; continue with: sds3d resume {shlex.quote(str(run.path))}", file=sys.stderr)
    return EXIT_STOPPED
