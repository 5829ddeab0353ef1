"""The display of a batch: one bar and one line a worker on a terminal, otherwise a line every half minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from sds3d.batch.status import Status, statuses
from sds3d.batch.store import Store
from sds3d.cli.progress import duration

MAX_PROMPT = 40  # characters of a worker's line
MAX_FAILURES = 20  # lines


@contextmanager
def make_display(stream: IO[str]) -> Iterator[Display]:
    """A display on `stream`: a table that stays in place on a terminal, lines elsewhere."""
    if not stream.isatty():
        yield Display(lambda lines: print(lines[0], file=stream, flush=True), every=30.0)
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(file=stream), auto_refresh=False) as live:
        yield Display(lambda lines: live.update(Text("\n".join(lines)), refresh=True), every=0.5)


class Display:
    """Shows a batch every few seconds, with the time left at the pace since it began to watch."""

    def __init__(
        self, show: Callable[[list[str]], None], every: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.put, self.every, self.clock = show, every, clock
        self.began = clock()
        self.shown = -1e9
        self.ended_before: int | None = None  # jobs that had ended when it began to watch

    def show(self, store: Store) -> None:
        """Shows it now unless it has just been shown."""
        if self.clock() - self.shown < self.every:
            return
        self.shown = self.clock()
        counts = store.counts()
        ended = counts["done"] + counts["failed"]
        if self.ended_before is None:
            self.ended_before = ended
        left = counts["pending"] + counts["optimized"] + counts["leased"]
        pace = (ended - self.ended_before) / max(self.clock() - self.began, 1e-9)
        self.put(table(store, f", {duration(left / pace)} left" if pace and left else ""))


def table(store: Store, eta: str = "") -> list[str]:
    """A line for the batch, and one for each worker."""
    counts = store.counts()
    total = sum(count for state, count in counts.items() if state != "dropped")
    line = f"{counts['done']} of {total} finished, {counts['failed']} failed, {counts['leased']} at work"
    return [line + eta, *(worker_line(status) for status in statuses(store.folder))]


def worker_line(status: Status) -> str:
    """What one worker does."""
    if not status.job:
        return f"  {status.slot:>2}  waits"
    prompt = status.prompt if len(status.prompt) <= MAX_PROMPT else status.prompt[: MAX_PROMPT - 3] + "..."
    percent = 100 * status.step // max(status.total_steps, 1)
    since = duration(time.time() - status.began)
    return f"  {status.slot:>2}  {percent:>3}%  {status.stage:<10}  {since:>6}  {prompt}"


def failure_lines(store: Store) -> list[str]:
    """Why jobs failed, one line each."""
    failed = store.records("failed")
    lines = []
    for record in failed[:MAX_FAILURES]:
        last = record.history[-1] if record.history else {}
        lines.append(f"  failed  {record.place}  {record.prompt!r}: {last.get('reason')}: {last.get('message')}")
    return lines + (
        [f"  ... and {len(failed) - MAX_FAILURES} more, in failures.jsonl"] if failed[MAX_FAILURES:] else []
    )
