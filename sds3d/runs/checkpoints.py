"""The checkpoints of a run: the newest valid one is found after any crash or disk error."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sds3d.errors import UserError
from sds3d.files import file_sha256, free_bytes, fsync, megabytes, read_json, read_regular, refused
from sds3d.runs.identity import SCHEMA

if TYPE_CHECKING:
    from torch import Tensor

TENSORS = "tensors.safetensors"
STATE = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """The arguments of `Checkpoints.save`, and one message for each newer checkpoint that was damaged."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    metrics_bytes: int
    messages: tuple[str, ...] = ()


class Checkpoints:
    """The folder `checkpoints` of a run, which holds one folder a step."""

    def __init__(self, run: Path, config_hash: str, keep: int) -> None:
        """`run` is the run's folder; `keep` is how many checkpoints stay."""
        self.folder = run / "checkpoints"
        self.config_hash = config_hash
        self.keep = keep

    def path(self, step: int) -> Path:
        """The folder of the checkpoint of `step`."""
        return self.folder / f"step-{step:06d}"

    def save(self, step: int, tensors: dict[str, Tensor], state: dict[str, Any], metrics_bytes: int) -> None:
        """Adds a checkpoint; older checkpoints stay valid even if this fails. `state` must fit in JSON.

        `metrics_bytes` is the size of the log up to this step.
        """
        from safetensors.torch import save

        final = self.path(step)
        partial = final.with_name(f"{final.name}.tmp-{os.getpid()}")
        data = save({name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()})
        head = {
            "schema": SCHEMA,
            "step": step,
            "config_hash": self.config_hash,
            "metrics_bytes": metrics_bytes,
            "files": {TENSORS: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}},
            "state": state,
        }
        text = json.dumps({**head, "sha256": _checksum(head)}, indent=1).encode()
        needed = len(data) + len(text)
        if needed > (free := free_bytes(self.folder)):
            raise UserError(
                f"cannot write {final}: the disk is full ({megabytes(needed)} needed, {megabytes(free)} free); "
                f"make room, then run `sds3d resume {self.folder.parent}`"
            )
        try:
            partial.mkdir(parents=True)
            (partial / TENSORS).write_bytes(data)
            (partial / STATE).write_bytes(text)
            for path in (partial / TENSORS, partial / STATE, partial):
                fsync(path)
            if final.exists():  # the same step, reached again after a resume
                _remove(final)
            os.replace(partial, final)
            fsync(self.folder)
        except OSError as error:
            raise refused(error, final, needed) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._prune(final)

    def load_latest(self, check: Callable[[dict[str, Any]], None] = lambda state: None) -> Checkpoint | None:
        """The newest valid checkpoint, or None in a new run.

        `check` raises ValueError for a state of another version.
        """
        for leftover in self.folder.glob("*.tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        messages: list[str] = []
        for path in self._saved():
            try:
                head = _read_state(path)
                check(head["state"])
                tensors = _read_tensors(path, head)
            except ValueError as error:
                messages.append(f"damaged checkpoint {path}: {error}; going back to the one before")
                continue
            if head["config_hash"] != self.config_hash:
                raise UserError(
                    f"{path} was made with another config or prior than {self.folder.parent / 'config.yaml'}; "
                    "restore that file, or start a new run with `sds3d generate`"
                )
            return Checkpoint(head["step"], tensors, head["state"], head["metrics_bytes"], tuple(messages))
        if messages:
            raise UserError(
                f"all checkpoints of {self.folder.parent} are damaged ({'; '.join(messages)}); delete {self.folder} "
                "to start this run again from its first step"
            )
        return None

    def _saved(self) -> list[Path]:
        """Checkpoint folders, newest first."""
        if not self.folder.exists():
            return []
        names = [path for path in self.folder.iterdir() if re.fullmatch(r"step-\d{6,}", path.name)]
        return sorted(names, key=lambda path: int(path.name[5:]), reverse=True)

    def _prune(self, newest: Path) -> None:
        """Removes all but the newest checkpoints, once `newest` has been read back and verified."""
        try:
            head = _read_state(newest)
            if file_sha256(newest / TENSORS) != head["files"][TENSORS]["sha256"]:
                raise ValueError(f"{TENSORS} does not read back as it was written")
        except (OSError, ValueError) as error:
            raise UserError(f"{newest}: {error}; is the disk failing? The checkpoint before it was kept") from error
        for path in self._saved()[self.keep :]:
            _remove(path)


def _read_state(path: Path) -> dict[str, Any]:
    """state.json of a checkpoint; ValueError if it was changed or damaged."""
    try:
        head = read_json(path / STATE)
    except OSError as error:
        raise ValueError(f"{STATE} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ValueError(f"{STATE} is no longer what was written") from error
    checksum = head.pop("sha256", None)
    if checksum != _checksum(head):
        raise ValueError(f"{STATE}: expected sha256 {_shown(checksum)}, got {_checksum(head)}")
    if head.get("schema") != SCHEMA:
        raise ValueError(f"{STATE} has schema {_shown(head.get('schema'))}, this version reads {SCHEMA}")
    kinds = {"step": int, "config_hash": str, "metrics_bytes": int, "files": dict, "state": dict}
    wrong = [name for name, kind in kinds.items() if type(head.get(name)) is not kind]
    entry = None if wrong else head["files"].get(TENSORS)
    if wrong or head["step"] != int(path.name[5:]) or head["metrics_bytes"] < 0 or not _is_file_entry(entry):
        raise ValueError(f"{STATE} is of another version: its {', '.join(wrong) or 'values'} cannot be used")
    return head


def _is_file_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and type(entry.get("bytes")) is int and isinstance(entry.get("sha256"), str)


def _shown(value: Any) -> str:
    """`value`, cut to the length of a sha256."""
    return str(value)[:64]


def _read_tensors(path: Path, head: dict[str, Any]) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    expected = head["files"][TENSORS]
    try:
        data = read_regular(path / TENSORS, expected["bytes"])
        got = hashlib.sha256(data).hexdigest()
        if got != expected["sha256"]:
            raise ValueError(
                f"expected {expected['bytes']} bytes with sha256 {_shown(expected['sha256'])}, "
                f"got {len(data)} bytes with sha256 {got}"
            )
        return load(data)
    except OSError as error:
        raise ValueError(f"{TENSORS} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, SafetensorError) as error:  # KeyError: a data type that PyTorch lacks
        raise ValueError(f"{TENSORS}: {str(error)[:300]}") from error


def _checksum(head: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(head, sort_keys=True).encode()).hexdigest()


def _remove(path: Path) -> None:
    """Deletes a checkpoint so that a kill half-way leaves no folder that looks like one."""
    doomed = path.with_name(f"{path.name}.tmp-{os.getpid()}-old")
    shutil.rmtree(doomed, ignore_errors=True)
    os.replace(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)
