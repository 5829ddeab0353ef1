"""Models that people use, by name: where their files come from, and where they are on this machine."""

from __future__ import annotations

from pathlib import Path

from sds3d.errors import UserError


def locate(path: str) -> Path:
    """The folder or file of a prior that a config names; UserError says what to fetch if it is not here."""
    found = Path(path).expanduser()
    if not found.exists():
        raise UserError(f"prior.path: {path}: no such file or folder")
    return found
