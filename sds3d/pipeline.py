"""One asset, from its config to the files of a finished run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sds3d.config.schema import Config
from sds3d.finish import finish
from sds3d.optimization.loop import Observer, optimize
from sds3d.optimization.threads import threads_restored
from sds3d.priors.cache import Priors
from sds3d.priors.kinds import unread_message, unread_texts_of
from sds3d.runs.folder import RunFolder


def make_asset(
    cfg: Config, run: RunFolder, priors: Priors, observer: Observer, stop: Callable[[], bool]
) -> dict[str, Any] | None:
    """Optimizes a scene, meshes it and writes the files of `run`; returns the content of report.json.

    None if `stop()` became true before the last step; call this again to continue. `priors` may serve many runs.
    """
    unread = unread_texts_of(cfg)  # before the first step: later the tokenizer may be gone
    for key, end in unread.items():
        observer.note(unread_message(key, end))
    with threads_restored():
        result = optimize(cfg, run, priors, observer, stop)
        if not result.finished:
            return None
        observer.finishing()
        nonfinite = {**result.guard.numbers(), "stages": result.skipped}
        return finish(
            cfg, run, result.scene,
            seconds=result.seconds, nonfinite=nonfinite, unread_texts=unread, note=observer.note,
        )  # fmt: skip
