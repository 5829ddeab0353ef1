"""Prompt files: txt, csv, jsonl or yaml, each prompt with its overrides of the config."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sds3d.errors import UserError

MAX_BYTES = 16 << 20
MAX_PROBLEMS = 10  # that one message lists
FORMATS = (".txt", ".csv", ".jsonl", ".yaml", ".yml")
PROMPT, LABEL = "prompt", "id"  # fields of a row; every other field is a key of the config


@dataclass(frozen=True)
class Row:
    """One prompt of a file."""

    prompt: str
    overrides: tuple[str, ...] = ()  # key=value
    label: str = ""  # the user's name for it, shown in the gallery
    place: str = ""  # "prompts.csv:12"


class BadRow(Exception):
    """A row that cannot be read; the message says why."""


def read_prompts(path: Path) -> list[Row]:
    """The prompts of a file, in its order; UserError lists the bad rows by line."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: expected a file of prompts ending in {', '.join(FORMATS)}")
    text = _text(path)
    rows: list[Row] = []
    problems: list[str] = []
    for line, content in _READERS[path.suffix.lower()](text, path):
        place = f"{path.name}:{line}"
        try:
            rows.append(_row(content, place))
        except BadRow as error:
            problems.append(f"line {line}: {error}")
    if problems:
        more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        raise UserError(f"{path}: " + "; ".join(problems[:MAX_PROBLEMS]) + more)
    if not rows:
        raise UserError(f"{path}: no prompts in it; expected one prompt a line")
    return rows


def _text(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a file of prompts ({', '.join(FORMATS)})")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UserError(f"{path}: expected at most {MAX_BYTES >> 20} MiB of prompts, got {size / 2**20:.0f} MiB")
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}: line {line} is not UTF-8 text; save the file as UTF-8") from error


def _txt(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    """Lines that are not blank. Every other character belongs to the prompt, also # at the start."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line


def _csv(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or []]
        if PROMPT not in names:
            raise UserError(f"{path}: line 1: expected a column named {PROMPT}, got {', '.join(names)[:200]}")
        reader.fieldnames = names
        for row in reader:
            if None in row:
                raise UserError(f"{path}: line {reader.line_num}: more cells than columns; quote cells with commas")
            yield reader.line_num, {name: cell for name, cell in row.items() if cell}
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}") from error


def _jsonl(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in _txt(text, path):
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: line {number}: not JSON ({error})") from error


def _yaml(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    import yaml

    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise UserError(f"{path}: aliases (*name) are not supported in a file of prompts")
        if node is not None and not isinstance(node, yaml.SequenceNode):
            raise UserError(f"{path}: expected a list of prompts, each beginning with a dash")
        for item in node.value if node is not None else ():
            if item.tag not in yaml.SafeLoader.yaml_constructors:
                raise UserError(f"{path}: line {item.start_mark.line + 1}: unknown tag {item.tag[:80]!r}")
            content = item.value if isinstance(item, yaml.ScalarNode) else loader.construct_object(item, deep=True)
            yield item.start_mark.line + 1, content
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())[:300]})") from error


_READERS = {".txt": _txt, ".csv": _csv, ".jsonl": _jsonl, ".yaml": _yaml, ".yml": _yaml}


def _row(content: Any, place: str) -> Row:
    """A row from its text, or from its fields; BadRow if it has no prompt or a value of the wrong kind."""
    if isinstance(content, str):
        return Row(content.strip(), place=place)
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise BadRow(f"expected a prompt, or fields with {PROMPT!r} among them")
    fields = dict(content)
    prompt, label = fields.pop(PROMPT, None), fields.pop(LABEL, "")
    if not isinstance(prompt, str):
        raise BadRow(f"expected {PROMPT!r} to be text, got {str(prompt)[:80]!r}")
    overrides = tuple(f"{key}={_value(value)}" for key, value in _leaves(fields))
    return Row(prompt.strip(), overrides, str(label)[:200], place)


def _leaves(fields: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _value(value: Any) -> str:
    """As `key=value` takes it: text as it is, all else as JSON, which YAML reads."""
    return value if isinstance(value, str) else json.dumps(value)
