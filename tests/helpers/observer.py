"""An observer that records the events of the loop, and a run of the loop with separate priors."""

from __future__ import annotations

from collections.abc import Callable

from sds3d.config.schema import Config
from sds3d.native.devices import resolve_device
from sds3d.optimization.loop import Observer, Optimized, optimize
from sds3d.priors.cache import Priors
from sds3d.runs.folder import RunFolder


class RecordingObserver:
    """Records notes, the rows of `advance`, and the steps after which it received the scene."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.blocks: list[int] = []
        self.is_finishing = False

    def start(self, total_steps: int, initial: int) -> None: ...

    def stage(self, name: str) -> None: ...

    def advance(self, step: int, **numbers: float) -> None:
        self.rows.append((step, numbers))

    def on_block(self, step: int, scene: object) -> None:
        self.blocks.append(step)

    def finishing(self) -> None:
        self.is_finishing = True

    def note(self, text: str) -> None:
        self.notes.append(text)


def never() -> bool:
    """Never stops the run."""
    return False


def optimize_alone(cfg: Config, run: RunFolder, observer: Observer, stop: Callable[[], bool] = never) -> Optimized:
    """The result of `optimize` with priors that no other run uses."""
    return optimize(cfg, run, Priors(resolve_device(cfg.device)), observer, stop)
