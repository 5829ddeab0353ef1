"""The output files that an unfinished run has already: an attempt does not make again what an earlier one made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sds3d.files import atomic_write, file_sha256, read_json


class Parts:
    """The files of a run that were written whole, and what is known of each; kept in parts.json until the report is."""

    def __init__(self, run: Path, source: Mapping[str, str]) -> None:
        """`source` identifies what the files of the folder `run` are made from; parts of another source are ignored."""
        self.run, self.path = run, run / "parts.json"
        self.source = dict(source)
        self.known = self._read()

    def make(self, name: str, write: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """What is known of the file `name`: what `write`, given its path, returns, unless an earlier attempt made it.

        What `write` returns must fit in JSON.
        """
        path = self.run / name
        if not self._has(name):
            facts = write(path)
            self.known[name] = {"sha256": file_sha256(path), "facts": facts}
            record = {"source": self.source, "parts": self.known}
            atomic_write(self.path, json.dumps({**record, "sha256": _checksum(record)}, indent=1) + "\n")
        return dict(self.known[name]["facts"])

    def digest(self, name: str) -> str:
        """Hex sha256 of the file `name` as it was when `make` returned."""
        return self.known[name]["sha256"]

    def forget(self) -> None:
        """Removes parts.json: the report lists the files now."""
        self.path.unlink(missing_ok=True)

    def _has(self, name: str) -> bool:
        try:
            return file_sha256(self.run / name) == self.known[name]["sha256"]
        except (OSError, ValueError, KeyError):
            return False

    def _read(self) -> dict[str, dict[str, Any]]:
        """The parts in parts.json; none if it is missing, damaged or of another source."""
        try:
            record = read_json(self.path)
        except (OSError, ValueError):
            return {}
        checksum, parts = record.pop("sha256", None), record.get("parts")
        if checksum != _checksum(record) or record.get("source") != self.source or not isinstance(parts, dict):
            return {}
        return {name: part for name, part in parts.items() if _is_part(part)}


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("sha256"), str) and isinstance(part.get("facts"), dict)


def _checksum(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
