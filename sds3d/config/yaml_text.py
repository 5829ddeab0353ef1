"""YAML from users: small, plain, without aliases and tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sds3d.errors import UserError
from sds3d.files import read_regular

MAX_BYTES = 1 << 20
MAX_VALUES = 10_000
MAX_DEPTH = 30
MAX_NUMBER = 1000  # characters
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The mapping in a YAML file, and the position of each key by dotted path, as "file:line: "."""
    import yaml

    lines: dict[str, int] = {}
    try:
        data = read_regular(path, MAX_BYTES)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: no config: {error}") from error
    if not data:  # so are files of /proc, from which nothing should be read
        raise UserError(f"{path}: the file is empty; expected keys and values such as 'seed: 1'")
    try:
        document = parse_yaml(data.decode("utf-8-sig"), lines)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date, thousands of digits
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(document, dict | None):
        raise UserError(f"{path}: expected keys and values such as 'seed: 1'")
    return document or {}, {key: f"{path}:{line}: " for key, line in lines.items()}


def parse_yaml(text: str, lines: dict[str, int]) -> Any:
    """Dicts, lists, numbers, truth values, None and text; adds to `lines` the line of every key by dotted path."""
    import yaml

    count = depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        count += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if count > MAX_VALUES:
            raise _error(f"more than {MAX_VALUES} values", event)
        if depth > MAX_DEPTH:
            raise _error("nested too deeply for a config", event)
        if isinstance(event, yaml.AliasEvent):
            raise _error("aliases (*) are not allowed", event)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise _error(f"tags ({tag}) are not allowed", event)
    loader = yaml.SafeLoader(text)
    node = loader.get_single_node()
    return None if node is None else _plain(loader, node, "", lines)


def read_value(text: str) -> Any:
    """What parse_yaml makes of `text`, or the text itself if that is text or no YAML."""
    import yaml

    try:
        value = parse_yaml(text, {})
    except (yaml.YAMLError, ValueError):
        return text
    return text if isinstance(value, str) else value


def _plain(loader: Any, node: Any, key: str, lines: dict[str, int]) -> Any:
    if node.id == "scalar":
        return _scalar(loader, node)
    if node.id == "sequence":
        children = [(str(index), child, child) for index, child in enumerate(node.value)]
    else:
        children = [(name.value, name, child) for name, child in node.value]
    plain = {}
    for name, place, child in children:
        if not isinstance(name, str):
            raise _error("keys must be plain", place)
        if name in plain:
            raise _error(f"the key {json.dumps(name, ensure_ascii=False)} appears twice", place)
        path = f"{key}.{name}" if key else name
        lines[path] = place.start_mark.line + 1
        plain[name] = _plain(loader, child, path, lines)
    return plain if node.id == "mapping" else list(plain.values())


def _scalar(loader: Any, node: Any) -> int | float | str | None:
    """The value of a plain or quoted scalar; what is no number, truth value or null stays text."""
    if node.tag in NUMBERS:
        if ":" in node.value:  # 1:30, which YAML 1.1 reads in base 60, in a time that is quadratic in its length
            return node.value
        if len(node.value) > MAX_NUMBER:
            raise _error(f"a number of {len(node.value)} characters", node)
    value = loader.construct_object(node)
    return value if isinstance(value, int | float | None) else node.value


def _error(problem: str, place: Any) -> Exception:
    import yaml

    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)
