"""Progress of a run: a bar on a terminal, otherwise a line every half minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID


def make_progress(stream: IO[str], finishing: Callable[[], None]) -> BarProgress | LineProgress:
    """A bar or lines, as suits `stream`: an Observer that calls `finishing` after the last step."""
    progress = BarProgress(stream) if stream.isatty() else LineProgress(stream)
    progress.when_finishing = finishing
    return progress


def _nothing() -> None:
    """The default for `when_finishing`: does nothing."""


class _Progress:
    """The parts that both share; neither uses the scene."""

    when_finishing: Callable[[], None] = staticmethod(_nothing)

    def on_block(self, step: int, scene: object) -> None:
        """Does nothing: the run's folder has previews of the scene."""

    def finishing(self) -> None:
        self.when_finishing()


class LineProgress(_Progress):
    """Plain lines for logs: one every `every` seconds, and one at the end of a stage."""

    def __init__(self, stream: IO[str], every: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.every, self.clock = stream, every, clock
        self.total = self.initial = self.step = 0
        self.name = ""
        self.numbers: dict[str, float] = {}
        self.began = self.printed = clock()
        self.printed_step = -1

    def start(self, total_steps: int, initial: int) -> None:
        self.total, self.initial, self.step = total_steps, initial, initial
        self.began = self.printed = self.clock()
        if initial:
            self.note(f"continuing from step {initial} of {total_steps}")

    def stage(self, name: str) -> None:
        if name == self.name:  # the loop repeats it
            return
        self._print()
        self.name = name
        self.note(f"stage {name}")

    def advance(self, step: int, **numbers: float) -> None:
        self.step, self.numbers = step, numbers
        if self.clock() - self.printed >= self.every or step == self.total:
            self._print()

    def note(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def close(self) -> None:
        self._print()

    def _print(self) -> None:
        if self.step in (self.initial, self.printed_step):
            return
        now = self.clock()
        rate = (self.step - self.initial) / max(now - self.began, 1e-9)
        eta = duration((self.total - self.step) / rate)
        numbers = "".join(f"  {name} {value:.4g}" for name, value in self.numbers.items())
        percent = 100 * self.step // max(self.total, 1)
        self.note(f"{self.name}  step {self.step}/{self.total} ({percent}%)  {rate:.1f} steps/s  {eta} left{numbers}")
        self.printed, self.printed_step = now, self.step


class BarProgress(_Progress):
    """A bar with stage, step, rate and time left; notes scroll by above it."""

    def __init__(self, stream: IO[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=Console(file=stream),
        )
        self.task: TaskID | None = None
        self.initial, self.began = 0, time.monotonic()

    def start(self, total_steps: int, initial: int) -> None:
        self.initial, self.began = initial, time.monotonic()
        self.task = self.bar.add_task("", total=total_steps, completed=initial, rate="", numbers="")
        self.bar.start()

    def stage(self, name: str) -> None:
        if self.task is not None:
            self.bar.update(self.task, description=name)

    def advance(self, step: int, **numbers: float) -> None:
        if self.task is None:
            return
        rate = (step - self.initial) / max(time.monotonic() - self.began, 1e-9)
        text = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        self.bar.update(self.task, completed=step, rate=f"{rate:.1f} steps/s", numbers=text)

    def note(self, text: str) -> None:
        self.bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self.bar.stop()


def duration(seconds: float) -> str:
    """A human-readable duration: 7s, 3m05s, 2h07m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    return f"{whole // 60}m{whole % 60:02d}s" if whole < 3600 else f"{whole // 3600}h{whole % 3600 // 60:02d}m"
