"""What may lie in the folder of a run: files and folders, but no links and no devices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sds3d.errors import UserError

FOLDERS = frozenset({"checkpoints", "previews", "export"})
FILES = frozenset({".lock", "config.yaml", "failed.json", "metrics.jsonl", "parts.json", "report.json"})


def check_entries(run: Path) -> None:
    """UserError if the folder `run`, which need not exist, holds what a run never makes; nothing is changed.

    A run writes, renames and deletes files there. Through a link it would change files elsewhere, a FIFO would block
    it, and a folder in the place of a file would end it after its last step.
    """
    try:
        for entry in _entries(run, 1):
            if problem := _problem_at_top(entry):
                raise _refusal(entry, problem)
        for name in ("checkpoints", "previews"):
            for entry in _entries(run / name, 2):
                if problem := _problem(entry):
                    raise _refusal(entry, problem)
    except OSError as error:
        raise UserError(f"{run}: cannot be read ({error.strerror}); check its permissions") from error


def _entries(folder: Path, levels: int) -> Iterator[os.DirEntry[str]]:
    """The entries of `folder`, and those of its folders down to `levels`; none where there is no folder."""
    try:
        entries = [*os.scandir(folder)]
    except (FileNotFoundError, NotADirectoryError):  # a new run, or one that another process removes just now
        return
    for entry in entries:
        yield entry
        if levels > 1 and entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path), levels - 1)


def _problem_at_top(entry: os.DirEntry[str]) -> str:
    """What is wrong with an entry of the run's folder itself; empty if nothing is."""
    if problem := _problem(entry):
        return problem
    if entry.name in (FILES if entry.is_dir() else FOLDERS):
        return "is a folder, expected a file" if entry.is_dir() else "is a file, expected a folder"
    # The only file that is written in place: the others are replaced, which leaves their other names as they are.
    if entry.name == "metrics.jsonl" and entry.stat().st_nlink > 1:
        return "has another name, a hard link, whose content a run would change, too"
    return ""


def _problem(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "is a link"
    return "" if entry.is_file() or entry.is_dir() else "is neither a file nor a folder"


def _refusal(entry: os.DirEntry[str], problem: str) -> UserError:
    return UserError(
        f"{entry.path} {problem}; nothing was changed: move it out of the folder of this run, then run the same "
        "command again"
    )
