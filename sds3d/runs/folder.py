"""The run folder: config, lock, log, previews, reports. Its content survives a kill at any moment."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sds3d.config.load import dump_config, load_config
from sds3d.config.schema import Config
from sds3d.errors import UserError
from sds3d.files import atomic_write, file_sha256, read_json, refused, user_path
from sds3d.runs.checkpoints import Checkpoint, Checkpoints
from sds3d.runs.entries import check_entries
from sds3d.runs.identity import config_hash, run_name

if TYPE_CHECKING:
    from torch import Tensor


def outputs_of(path: Path) -> dict[str, str]:
    """Name and sha256 of the files of the finished run at `path`, as its report lists them.

    Empty if the run is not finished or a file has changed.
    """
    return read_report(path).get("outputs", {})


def read_report(path: Path) -> dict[str, Any]:
    """The report of the finished run at `path`; empty unless all outputs that it lists are there and unchanged."""
    try:
        report = read_json(path / "report.json")
        outputs = report.get("outputs")
        if not isinstance(outputs, dict) or not outputs:
            return {}
        unchanged = (name == Path(name).name and file_sha256(path / name) == outputs[name] for name in outputs)
        return report if all(unchanged) else {}
    except (OSError, ValueError):
        return {}


def check_is_run(path: Path) -> None:
    """UserError unless there is a run at `path`, of whatever version."""
    if not (path / "config.yaml").is_file():
        raise UserError(f"{path} is not a run folder: it has no config.yaml; give the folder that a run printed")


class RunFolder:
    """One run on disk; `create` it from a config or `open` it again."""

    def __init__(self, path: Path, cfg: Config, prior_ids: Sequence[str] = ()) -> None:
        """`prior_ids` identify the weights of each stage's prior; other weights make another run."""
        self.path = path
        self.prior_ids = tuple(prior_ids)
        self.config_hash = config_hash(cfg, prior_ids)
        self.checkpoints = Checkpoints(path, self.config_hash, cfg.checkpoint.keep)
        self.metrics = path / "metrics.jsonl"
        self._log: IO[str] | None = None

    @classmethod
    def create(cls, cfg: Config, prior_ids: Sequence[str] = ()) -> RunFolder:
        """The folder of `cfg` inside cfg.out, created if it does not exist; unchanged if its run is finished."""
        out = user_path(cfg.out)
        path = out / run_name(cfg, prior_ids)
        if path.is_symlink() or path.resolve().parent != out.resolve():
            raise UserError(f"{path} points outside {out.resolve()}; remove that link")
        run = cls(path, cfg, prior_ids)
        if run.finished and (path / "config.yaml").is_file():  # perhaps on a disk that is read-only
            return run
        check_entries(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refused(error, path) from error
        atomic_write(path / "config.yaml", dump_config(cfg))
        return run

    @classmethod
    def open(cls, path: Path, find_ids: Callable[[Config], Sequence[str]] = lambda cfg: ()) -> tuple[RunFolder, Config]:
        """An existing run and its config; `find_ids` returns the ids of its priors' weights."""
        check_is_run(path)
        cfg = load_config(path / "config.yaml", [], None)
        return cls(path, cfg, find_ids(cfg)), cfg

    @property
    def outputs(self) -> dict[str, str]:
        """Name and sha256 of the files of this run; empty if it is not finished, see `outputs_of`."""
        return outputs_of(self.path)

    @property
    def finished(self) -> bool:
        """Whether report.json belongs to this run and all files that it lists are unchanged."""
        return read_report(self.path).get("config_hash") == self.config_hash

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out of this folder, until the block or the process ends.

        UserError if one is in it, or if it holds links; see `check_entries`.
        """
        check_entries(self.path)
        path = self.path / ".lock"
        try:
            file = path.open("ab")  # never truncated, whatever it is
        except OSError as error:
            raise refused(error, path) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"{self.path}: another process is using this run; wait for it or stop it") from error
            yield

    def log(self, step: int, **numbers: float) -> None:
        """Appends one line to metrics.jsonl."""
        try:
            if self._log is None:
                self._log = self.metrics.open("a", buffering=1, encoding="utf-8")
            self._log.write(json.dumps({"step": step, **{name: float(x) for name, x in numbers.items()}}) + "\n")
        except OSError as error:
            raise refused(error, self.metrics) from error

    def close_log(self) -> None:
        """Closes metrics.jsonl; `log` opens it again."""
        if self._log is not None:
            with suppress(OSError):  # of a line that `log` could not write, and has reported
                self._log.close()
            self._log = None

    def save_preview(self, step: int, picture: bytes) -> None:
        """Keeps a PNG picture of the scene after `step` steps."""
        path = self.path / "previews" / f"step-{step:06d}.png"
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise refused(error, path) from error
        atomic_write(path, picture)

    def forget_failure(self) -> None:
        """Removes the failed.json of an earlier attempt."""
        (self.path / "failed.json").unlink(missing_ok=True)

    def save_failure(self, report: dict[str, Any]) -> None:
        """Writes to failed.json why the run failed."""
        atomic_write(self.path / "failed.json", json.dumps(report, indent=1) + "\n")

    def save_checkpoint(self, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Adds a checkpoint; older checkpoints stay valid even if this fails. `state` must fit in JSON."""
        self.checkpoints.save(step, tensors, state, self._flush_log())

    def load_latest(self, check: Callable[[dict[str, Any]], None] = lambda state: None) -> Checkpoint | None:
        """The newest valid checkpoint, or None in a new run; truncates metrics.jsonl to its step.

        `check` raises ValueError for a state of another version.
        """
        checkpoint = self.checkpoints.load_latest(check)
        self._truncate_log(checkpoint.metrics_bytes if checkpoint else 0)
        return checkpoint

    def _flush_log(self) -> int:
        """The size of metrics.jsonl in bytes, after a sync to disk."""
        if self._log is None:
            return self.metrics.stat().st_size if self.metrics.exists() else 0
        try:
            self._log.flush()
            os.fsync(self._log.fileno())
        except OSError as error:
            raise refused(error, self.metrics) from error
        return self.metrics.stat().st_size

    def _truncate_log(self, size: int) -> None:
        """Truncates metrics.jsonl to at most `size` bytes and to complete lines."""
        self.close_log()
        if not self.metrics.exists():
            return
        try:
            with self.metrics.open("r+b") as file:
                kept = file.read(min(size, os.fstat(file.fileno()).st_size))
                file.truncate(kept.rfind(b"\n") + 1)
        except OSError as error:
            raise refused(error, self.metrics) from error
