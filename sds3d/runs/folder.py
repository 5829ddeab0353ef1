"""The run folder: config, metrics, checkpoints, previews. What is in it survives a kill at any moment."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, assert_never

from sds3d.config.load import dump_config, load_config
from sds3d.config.schema import (
    CheckpointConfig,
    Config,
    MVDreamConfig,
    PocketConfig,
    PriorConfig,
    RunPriorConfig,
    StableDiffusionConfig,
)
from sds3d.errors import UserError
from sds3d.files import atomic_write, file_sha256, free_bytes, fsync, megabytes, refused
from sds3d.priors.kinds import kind_of

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 1  # of checkpoints; a new number makes older runs start anew
TENSORS = "tensors.safetensors"
STATE = "state.json"
OUTPUTS = ("mesh.glb", "splats.ply", "turntable.mp4", "preview.png")


@dataclass(frozen=True)
class Checkpoint:
    """What save_checkpoint was given, and one message for each newer checkpoint that was damaged."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    messages: tuple[str, ...] = ()


def config_hash(cfg: Config) -> str:
    """Hex sha256 of all that the result depends on: not of where it is made, nor of how often it is saved."""
    ids = "\n".join(kind_of(cfg.prior_of(stage)).find("prior.path").id for stage in cfg.stages)
    same = replace(
        cfg,
        out="",
        device="auto",
        checkpoint=CheckpointConfig(),
        prior=_without_place(cfg.prior),
        stages=tuple(replace(stage, prior=_without_place(stage.prior)) for stage in cfg.stages),
    )
    return hashlib.sha256(f"{SCHEMA}\n{ids}\n{dump_config(same)}".encode()).hexdigest()


def _without_place(cfg: PriorConfig | RunPriorConfig) -> PriorConfig | RunPriorConfig:
    """`cfg` without what its result does not depend on; of where its weights are, their id says all that matters."""
    match cfg:
        case MVDreamConfig() | StableDiffusionConfig():
            default = type(cfg)()
            return replace(cfg, path="", compile=default.compile, vae_batch=default.vae_batch)
        case PocketConfig():
            return replace(cfg, path="")
        case RunPriorConfig():
            return cfg
        case _:
            assert_never(cfg)


def run_name(cfg: Config) -> str:
    """A folder name from the prompt and the hash of the config: the same run has the same name."""
    ascii_text = unicodedata.normalize("NFKD", cfg.prompt).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:48].strip("-")
    return f"{slug or 'asset'}-{config_hash(cfg)[:10]}"


class RunFolder:
    """One run on disk; `create` it from a config or `open` it again."""

    def __init__(self, path: Path, cfg: Config) -> None:
        self.path = path
        self.config_hash = config_hash(cfg)
        self.keep = cfg.checkpoint.keep
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self._log: IO[str] | None = None

    @classmethod
    def create(cls, cfg: Config) -> RunFolder:
        """The folder of `cfg` inside cfg.out, made if it is not there yet."""
        out = Path(cfg.out)
        path = out / run_name(cfg)
        if path.is_symlink() or path.resolve().parent != out.resolve():
            raise UserError(f"{path} leads out of {out.resolve()}; remove that link")
        run = cls(path, cfg)
        try:
            run.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refused(error, path) from error
        atomic_write(path / "config.yaml", dump_config(cfg))
        return run

    @classmethod
    def open(cls, path: Path) -> tuple[RunFolder, Config]:
        """An existing run and its config."""
        if not (path / "config.yaml").is_file():
            raise UserError(f"{path} is no run folder: it has no config.yaml; give the folder that a run printed")
        cfg = load_config(path / "config.yaml", [], None)
        run = cls(path, cfg)
        try:
            run.checkpoints.mkdir(exist_ok=True)
        except OSError as error:
            raise refused(error, path) from error
        return run, cfg

    @property
    def finished(self) -> bool:
        """Whether report.json lists all outputs and each is as it was written."""
        try:
            report = json.loads((self.path / "report.json").read_text())
            outputs = report["outputs"]
            return report["config_hash"] == self.config_hash and all(
                file_sha256(self.path / name) == outputs[name] for name in OUTPUTS
            )
        except (OSError, ValueError, KeyError, TypeError):
            return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out of this folder, until the block or the process ends."""
        path = self.path / ".lock"
        try:
            file = path.open("w")
        except OSError as error:
            raise refused(error, path) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"{self.path}: another process works on this run; wait for it or stop it") from error
            yield

    def log(self, step: int, **numbers: float) -> None:
        """Appends one line to metrics.jsonl."""
        try:
            if self._log is None:
                self._log = self.metrics.open("a", buffering=1)
            self._log.write(json.dumps({"step": step, **{name: float(x) for name, x in numbers.items()}}) + "\n")
        except OSError as error:
            raise refused(error, self.metrics) from error

    def save_preview(self, step: int, picture: bytes) -> None:
        """Keeps a PNG picture of the scene after `step` steps."""
        path = self.path / "previews" / f"step-{step:06d}.png"
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise refused(error, path) from error
        atomic_write(path, picture)

    def forget_failure(self) -> None:
        """Removes failed.json of an earlier try."""
        (self.path / "failed.json").unlink(missing_ok=True)

    def save_failure(self, report: dict[str, Any]) -> None:
        """Says in failed.json why the run ended before its end."""
        atomic_write(self.path / "failed.json", json.dumps(report, indent=1) + "\n")

    def save_checkpoint(self, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Adds a checkpoint; the older ones stay valid whatever happens on the way. `state` must fit in JSON."""
        from safetensors.torch import save

        final = self.checkpoints / f"step-{step:06d}"
        partial = final.with_name(f"{final.name}.tmp-{os.getpid()}")
        data = save({name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()})
        head = {
            "schema": SCHEMA,
            "step": step,
            "config_hash": self.config_hash,
            "metrics_bytes": self._flush_log(),
            "files": {TENSORS: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}},
            "state": state,
        }
        text = json.dumps({**head, "sha256": _checksum(head)}, indent=1).encode()
        needed = len(data) + len(text)
        if needed > (free := free_bytes(self.checkpoints)):
            raise UserError(
                f"cannot write {final}: the disk is full ({megabytes(needed)} needed, {megabytes(free)} free); "
                f"make room, then run `sds3d resume {self.path}`"
            )
        try:
            partial.mkdir()
            (partial / TENSORS).write_bytes(data)
            (partial / STATE).write_bytes(text)
            for path in (partial / TENSORS, partial / STATE, partial):
                fsync(path)
            if final.exists():  # the same step, reached again after a resume
                _remove(final)
            os.replace(partial, final)
            fsync(self.checkpoints)
        except OSError as error:
            raise refused(error, final, needed) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._prune(final)

    def load_latest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole, or None in a new run; takes metrics.jsonl back to its step."""
        for leftover in self.checkpoints.glob("*.tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        messages: list[str] = []
        for path in self._saved():
            try:
                head = _read_state(path)
                tensors = _read_tensors(path, head)
            except ValueError as error:
                messages.append(f"damaged checkpoint {path}: {error}; going back to the one before")
                continue
            if head["config_hash"] != self.config_hash:
                raise UserError(
                    f"{path} was made with another config or prior than {self.path / 'config.yaml'}; "
                    "restore that file, or start a new run with `sds3d generate`"
                )
            self._truncate_log(head["metrics_bytes"])
            return Checkpoint(head["step"], tensors, head["state"], tuple(messages))
        if messages:
            raise UserError(
                f"all checkpoints of {self.path} are damaged ({'; '.join(messages)}); delete {self.checkpoints} "
                "to start this run again from its first step"
            )
        self._truncate_log(0)
        return None

    def _saved(self) -> list[Path]:
        """Checkpoint folders, newest first."""
        names = [path for path in self.checkpoints.iterdir() if re.fullmatch(r"step-\d{6,}", path.name)]
        return sorted(names, key=lambda path: int(path.name[5:]), reverse=True)

    def _prune(self, newest: Path) -> None:
        """Removes all but the newest checkpoints, once `newest` reads back whole."""
        try:
            head = _read_state(newest)
            if file_sha256(newest / TENSORS) != head["files"][TENSORS]["sha256"]:
                raise ValueError(f"{TENSORS} does not read back as it was written")
        except (OSError, ValueError) as error:
            raise UserError(f"{newest}: {error}; is the disk failing? The checkpoint before it was kept") from error
        for path in self._saved()[self.keep :]:
            _remove(path)

    def _flush_log(self) -> int:
        """The size of metrics.jsonl, all of it on the disk."""
        if self._log is None:
            return self.metrics.stat().st_size if self.metrics.exists() else 0
        try:
            self._log.flush()
            os.fsync(self._log.fileno())
        except OSError as error:
            raise refused(error, self.metrics) from error
        return self.metrics.stat().st_size

    def _truncate_log(self, size: int) -> None:
        """Cuts metrics.jsonl to `size` bytes and to whole lines."""
        if self._log is not None:
            self._log.close()
            self._log = None
        if not self.metrics.exists():
            return
        try:
            with self.metrics.open("r+b") as file:
                kept = file.read(size)
                file.truncate(kept.rfind(b"\n") + 1)
        except OSError as error:
            raise refused(error, self.metrics) from error


def _read_state(path: Path) -> dict[str, Any]:
    """state.json of a checkpoint; ValueError when it is not what was written."""
    try:
        head = json.loads((path / STATE).read_bytes())
        checksum = head.pop("sha256")
    except OSError as error:
        raise ValueError(f"{STATE} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"{STATE} is no longer what was written") from error
    if checksum != _checksum(head):
        raise ValueError(f"{STATE}: expected sha256 {checksum}, got {_checksum(head)}")
    if head["schema"] != SCHEMA:
        raise ValueError(f"{STATE} has schema {head['schema']}, this version reads {SCHEMA}")
    return head


def _read_tensors(path: Path, head: dict[str, Any]) -> dict[str, Tensor]:
    from safetensors.torch import load

    try:
        data = (path / TENSORS).read_bytes()
    except OSError as error:
        raise ValueError(f"{TENSORS} cannot be read ({error.strerror})") from error
    expected = head["files"][TENSORS]
    got = hashlib.sha256(data).hexdigest()
    if got != expected["sha256"]:
        raise ValueError(
            f"{TENSORS}: expected {expected['bytes']} bytes with sha256 {expected['sha256']}, "
            f"got {len(data)} bytes with sha256 {got}"
        )
    return load(data)


def _checksum(head: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(head, sort_keys=True).encode()).hexdigest()


def _remove(path: Path) -> None:
    """Deletes a checkpoint so that a kill half-way leaves no folder that looks like one."""
    doomed = path.with_name(f"{path.name}.tmp-{os.getpid()}-old")
    shutil.rmtree(doomed, ignore_errors=True)
    os.replace(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)
