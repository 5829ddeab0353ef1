"""Configs from YAML files and key=value overrides: every problem found at once, nothing in them ever evaluated."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
import types
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sds3d.config import Config
from sds3d.errors import UserError

MAX_PROMPT = 600  # characters
MAX_YAML_BYTES = 1 << 20
MAX_YAML_NODES = 10_000
FLOAT_TAG = "tag:yaml.org,2002:float"
EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")  # 1e-3, which YAML 1.1 alone reads as text
EXPONENT_STARTS = list("-+0123456789")
PRESETS = Path(__file__).resolve().parent.parent / "configs"


@dataclass(frozen=True)
class Range:
    """The numbers that a field may hold; both ends included unless open."""

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    multiple: int = 1

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below and (self.multiple == 1 or value % self.multiple == 0)

    def __str__(self) -> str:
        low = f"{'more than' if self.open_low else 'at least'} {self.low:.12g}"
        high = f" and {'less than' if self.open_high else 'at most'} {self.high:.12g}"
        steps = f"a multiple of {self.multiple}, " if self.multiple > 1 else ""
        return steps + low + ("" if self.high == math.inf else high)


FRACTION = Range(0, 1)
INSIDE = Range(0, 1, open_low=True, open_high=True)
POSITIVE = Range(0, math.inf, open_low=True)
NON_NEGATIVE = Range(0)
PIXELS = Range(16, 1024, multiple=16)

RANGES = {  # class.field: for a Ramp or a tuple, of each of its values
    "Config.seed": Range(0, 2**63 - 1),
    "Ramp.over": Range(0, 1, open_low=True),
    "GaussiansConfig.num_init": Range(1, 5_000_000),
    "GaussiansConfig.init_radius": Range(0, 1, open_low=True),
    "GaussiansConfig.init_opacity": INSIDE,
    "GaussiansConfig.max_gaussians": Range(1, 5_000_000),
    "GaussiansConfig.densify_every": Range(1),
    "GaussiansConfig.densify_until": FRACTION,
    "GaussiansConfig.grow_fraction": FRACTION,
    "GaussiansConfig.prune_opacity": INSIDE,
    "GaussiansConfig.max_scale": Range(0, 1, open_low=True),
    "GaussiansConfig.lr_means": POSITIVE,
    "GaussiansConfig.lr_colors": POSITIVE,
    "GaussiansConfig.lr_opacities": POSITIVE,
    "GaussiansConfig.lr_scales": POSITIVE,
    "GaussiansConfig.lr_quats": POSITIVE,
    "SDSConfig.guidance_scale": Range(0, 1000),
    "SDSConfig.rescale": FRACTION,
    "CameraConfig.elevation_deg": Range(-90, 90),
    "CameraConfig.distance": Range(1.1, 100),
    "CameraConfig.fov_deg": Range(1, 120),
    "LossConfig.sparsity": NON_NEGATIVE,
    "LossConfig.opaque": NON_NEGATIVE,
    "LossConfig.scales": NON_NEGATIVE,
    "LossConfig.position": NON_NEGATIVE,
    "StageConfig.steps": Range(1, 10_000_000),
    "StageConfig.prior_every": Range(1, 1000),
    "StageConfig.num_orbits": Range(1, 64),
    "StageConfig.resolution": PIXELS,
    "StageConfig.t_min": FRACTION,
    "StageConfig.t_max": FRACTION,
    "MeshConfig.grid": Range(16, 1024),
    "MeshConfig.faces": Range(100, 1_000_000),
    "MeshConfig.texture_size": Range(16, 8192, multiple=16),
    "MeshConfig.bake_views": Range(4, 512),
    "MeshConfig.bake_resolution": Range(16, 2048, multiple=16),
    "PreviewConfig.resolution": PIXELS,
    "PreviewConfig.frames": Range(2, 1000),
    "CheckpointConfig.every_steps": Range(1),
    "CheckpointConfig.every_seconds": POSITIVE,
    "CheckpointConfig.keep": Range(2, 1000),  # the last one may be in the process of being saved
}


def load_config(preset: Path | None, overrides: list[str], prompt: str | None) -> Config:
    """The defaults, then the file `preset` (a path or the name of a preset), then `overrides`, then `prompt`."""
    problems: list[str] = []
    tree, lines = to_mapping(Config()), {}
    if preset is not None:
        path = find_preset(preset)
        document, lines = read_yaml(path)
        lines = {key: f"{path}:{line}: " for key, line in lines.items()}
        tree = _merge(tree, document)
    for override in sorted(overrides, key=lambda text: not text.partition("=")[0].endswith("kind")):
        _override(tree, override, problems)
    if prompt is not None:
        tree["prompt"] = _Raw(prompt)
    where = _Where(lines, problems)
    cfg = _build(Config, tree, "", where)
    if cfg is not None and not problems:
        cfg = dataclasses.replace(cfg, prompt=cfg.prompt.strip(), negative_prompt=cfg.negative_prompt.strip())
        problems += [f"{where.source(key)}{key}: {text}" for key, text in _check(cfg)]
    if problems:
        raise UserError("; ".join(problems))
    return cfg


def dump_config(cfg: Config) -> str:
    """YAML that load_config reads back equal."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Puts quotes around text that the loader would take for a number."""

    Dumper.add_implicit_resolver(FLOAT_TAG, EXPONENT, EXPONENT_STARTS)
    return yaml.dump(to_mapping(cfg), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)


def to_mapping(value: Any) -> Any:
    """Plain dicts, lists and scalars from dataclasses and tuples."""
    if dataclasses.is_dataclass(value):
        return {field.name: to_mapping(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [to_mapping(item) for item in value]
    return value


def check_prompt(prompt: str, required: bool = True) -> str | None:
    """What is wrong with a prompt, or None; any text is allowed that a person can read."""
    if required and not prompt.strip():
        return 'the prompt is empty; say what to make, for example "a red mushroom with white dots"'
    if len(prompt) > MAX_PROMPT:
        return f"{len(prompt)} characters, at most {MAX_PROMPT} are allowed; say it shorter"
    for character in prompt:
        if unicodedata.category(character) == "Cc":
            return f"holds the control character U+{ord(character):04X}; write it on one line of plain text"
        if unicodedata.category(character) == "Cs":
            return "is not valid Unicode text; write it in UTF-8"
    return None


def find_preset(preset: Path) -> Path:
    """The file of a preset: the path itself, or its name in configs/."""
    if preset.is_file():
        return preset
    named = PRESETS / f"{preset}.yaml"
    if len(preset.parts) == 1 and named.is_file():
        return named
    names = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    raise UserError(f"config {preset}: no such file{_did_you_mean(str(preset), names)}; presets: {', '.join(names)}")


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The mapping in a YAML file, and the line of each of its keys by dotted path."""
    import yaml

    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_YAML_BYTES:
        raise UserError(f"{path}: {len(data)} bytes, at most {MAX_YAML_BYTES} are allowed in a config")
    try:
        loader = _yaml_loader()(data.decode("utf-8-sig"))
        node = loader.get_single_node()
        document = {} if node is None else loader.construct_document(node)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply for a config") from error
    except ValueError as error:  # an impossible date, an integer of thousands of digits
        raise UserError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise UserError(f"{path}: expected keys and values such as 'seed: 1', got {_show(document)}")
    return document, dict(_lines(node, "")) if node is not None else {}


def from_mapping(cls: type, mapping: dict[str, Any]) -> Any:
    """An instance of the dataclass `cls`; UserError names every unknown, mistyped and out-of-range key."""
    problems: list[str] = []
    built = _build(cls, mapping, "", _Where({}, problems))
    if problems:
        raise UserError("; ".join(problems))
    return built


class _Raw(str):
    """The text of an override: taken as it is where text is expected, read as YAML anywhere else."""


@dataclass(frozen=True)
class _Where:
    """Where keys come from, and where their problems go."""

    lines: dict[str, str]
    problems: list[str]

    def source(self, key: str) -> str:
        return self.lines.get(key, "")

    def report(self, key: str, text: str) -> None:
        self.problems.append(f"{self.source(key)}{key}: {text}")


def _build(hint: Any, value: Any, key: str, where: _Where, limits: Range | None = None) -> Any:
    """`value` as the type `hint`, or None with the reason in `where.problems`."""
    if isinstance(value, _Raw) and hint is not str:
        value = _parse(value)
    if get_origin(hint) in (Union, types.UnionType):
        hint = _member(hint, value, key, where)
        if hint is None:
            return None
    if dataclasses.is_dataclass(hint):
        return _build_dataclass(hint, value, key, where, limits)
    if get_origin(hint) is tuple:
        return _build_tuple(get_args(hint), value, key, where, limits)
    if get_origin(hint) is Literal:
        if value in get_args(hint) and not isinstance(value, bool):
            return value
        choices = [str(choice) for choice in get_args(hint)]
        return where.report(key, f"expected {_any_of(choices)}, got {_show(value)}{_did_you_mean(str(value), choices)}")
    return _build_scalar(hint, value, key, where, limits)


def _build_dataclass(cls: type, value: Any, key: str, where: _Where, limits: Range | None) -> Any:
    if not isinstance(value, dict):
        return where.report(key, f"expected the keys of {_any_of(_names(cls), 'and')}, got {_show(value)}")
    hints = get_type_hints(cls)
    built = {}
    value = _merge(_nested_defaults(cls), value)
    for name, item in value.items():
        path = f"{key}.{name}" if key else str(name)
        if name not in hints:
            where.report(path, f"unknown key{_did_you_mean(str(name), list(hints)) or '; known: ' + ', '.join(hints)}")
            continue
        item_limits = RANGES.get(f"{cls.__name__}.{name}", limits)
        built[name] = _build(hints[name], item, path, where, item_limits)
    for field in dataclasses.fields(cls):
        if field.name not in value and _default(field) is dataclasses.MISSING:
            where.report(f"{key}.{field.name}".lstrip("."), "missing")
            built[field.name] = None
    return cls(**built)


def _build_tuple(items: tuple, value: Any, key: str, where: _Where, limits: Range | None) -> Any:
    if not isinstance(value, list):
        return where.report(key, f"expected a list such as [1, 2], got {_show(value)}")
    if items[-1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        return where.report(key, f"expected {len(items)} values, got {len(value)}")
    pairs = enumerate(zip(items, value, strict=True))
    return tuple(_build(hint, item, f"{key}.{index}", where, limits) for index, (hint, item) in pairs)


def _build_scalar(hint: type, value: Any, key: str, where: _Where, limits: Range | None) -> Any:
    if hint is str:
        if isinstance(value, str):
            return str(value)
        return where.report(key, f"expected text, got {_show(value)}; put it in quotes")
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is bool:
        return value if isinstance(value, bool) else where.report(key, f"expected true or false, got {_show(value)}")
    if hint is int and not (number and value == int(value)):
        return where.report(key, f"expected a whole number, got {_show(value)}")
    if hint is float and not number:
        return where.report(key, f"expected a number, got {_show(value)}")
    if limits is not None and value not in limits:
        return where.report(key, f"{_show(value)} is out of range: {limits}")
    return hint(value)


def _member(union: Any, value: Any, key: str, where: _Where) -> type | None:
    """The dataclass of a union that `value` names by its kind."""
    kinds = {get_args(get_type_hints(cls)["kind"])[0]: cls for cls in get_args(union)}
    kind = value.get("kind") if isinstance(value, dict) else None
    if isinstance(kind, str) and str(kind) in kinds:
        return kinds[str(kind)]
    where.report(f"{key}.kind", f"expected {_any_of(list(kinds))}, got {_show(kind)}{_did_you_mean(str(kind), kinds)}")
    return None


def _check(cfg: Config) -> Iterator[tuple[str, str]]:
    """What the fields cannot say one by one: (key, problem)."""
    for key, text, required in (("prompt", cfg.prompt, True), ("negative_prompt", cfg.negative_prompt, False)):
        problem = check_prompt(text, required)
        if problem:
            yield key, problem
    if not cfg.out or "\0" in cfg.out:
        yield "out", "expected the path of a folder"
    shape = cfg.representation
    if shape.max_gaussians < shape.num_init:
        yield "representation.max_gaussians", f"{shape.max_gaussians} is less than num_init, {shape.num_init}"
    if not cfg.stages:
        yield "stages", "empty; a run needs at least one stage"
    for index, stage in enumerate(cfg.stages):
        if not re.fullmatch(r"[a-z0-9_-]{1,32}", stage.name):
            yield f"stages.{index}.name", f"expected 1 to 32 of a-z 0-9 _ -, got {_show(stage.name)}"
        if stage.name in {other.name for other in cfg.stages[:index]}:
            yield f"stages.{index}.name", f"{_show(stage.name)} is the name of an earlier stage"
        for end in ("start", "end"):
            low, high = getattr(stage.t_min, end), getattr(stage.t_max, end)
            if low > high:
                yield f"stages.{index}.t_min.{end}", f"{low:g} is above t_max.{end}, {high:g}"
        for name in ("elevation_deg", "distance", "fov_deg"):
            low, high = getattr(stage.cameras, name)
            if low > high:
                yield f"stages.{index}.cameras.{name}", f"expected [lowest, highest], got [{low:g}, {high:g}]"


def _merge(base: dict[str, Any], over: dict[Any, Any]) -> dict[Any, Any]:
    """`base` with the keys of `over`; lists replace lists, another kind replaces all that the old kind said."""
    if "kind" in over and over["kind"] != base.get("kind"):
        return over
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged


def _override(tree: dict[str, Any], text: str, problems: list[str]) -> None:
    """Sets the item that `key=value` names, creating no list items."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        problems.append(f"{_show(text)}: expected key=value such as seed=1; a prompt of several words needs quotes")
        return
    parts, node = key.split("."), tree
    for depth, part in enumerate(parts):
        last, path = depth == len(parts) - 1, ".".join(parts[: depth + 1])
        if isinstance(node, list):
            if not part.isdecimal() or int(part) >= len(node):
                problems.append(f"{path}: expected an index from 0 to {len(node) - 1}, got {_show(part)}")
                return
            part = int(part)
        elif not isinstance(node, dict):
            problems.append(f"{path}: {'.'.join(parts[:depth])} is one value and has no keys")
            return
        if not last:
            if isinstance(node, dict) and part not in node:
                node[part] = {}
            node = node[part]
        elif part == "kind" and node.get("kind") != value:
            node.clear()
            node["kind"] = value
        else:
            node[part] = _Raw(value)


def _parse(text: str) -> Any:
    """The YAML value of an override, or the text itself where it is no YAML."""
    import yaml

    try:
        return yaml.load(str(text), Loader=_yaml_loader())
    except (yaml.YAMLError, ValueError, RecursionError):
        return str(text)


def _yaml_loader() -> Callable[[str], Any]:
    """A safe YAML loader that counts nodes and refuses aliases and repeated keys."""
    import yaml

    class Loader(yaml.SafeLoader):
        nodes = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()
            self.nodes += 1
            if self.nodes > MAX_YAML_NODES:
                raise yaml.MarkedYAMLError(problem=f"more than {MAX_YAML_NODES} values", problem_mark=event.start_mark)
            if isinstance(event, yaml.AliasEvent):
                raise yaml.MarkedYAMLError(problem="aliases (*) are not allowed", problem_mark=event.start_mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key_node, _ in node.value:
                if not isinstance(key_node, yaml.ScalarNode):
                    raise yaml.MarkedYAMLError(problem="keys must be plain", problem_mark=key_node.start_mark)
                if key_node.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {_show(key_node.value)} is there twice", problem_mark=key_node.start_mark
                    )
                seen.add(key_node.value)
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver(FLOAT_TAG, EXPONENT, EXPONENT_STARTS)
    return Loader


def _lines(node: Any, key: str) -> Iterator[tuple[str, int]]:
    import yaml

    if isinstance(node, yaml.MappingNode):
        children = [(key_node.value, key_node, child) for key_node, child in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(str(index), child, child) for index, child in enumerate(node.value)]
    else:
        return
    for name, place, child in children:
        path = f"{key}.{name}" if key else name
        yield path, place.start_mark.line + 1
        yield from _lines(child, path)


def _did_you_mean(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f", did you mean '{close[0]}'?" if close else ""


def _names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _nested_defaults(cls: type) -> dict[str, Any]:
    """The defaults of `cls` that are dataclasses, so that naming one of their keys leaves the others as they are."""
    defaults = {field.name: _default(field) for field in dataclasses.fields(cls)}
    return {name: to_mapping(default) for name, default in defaults.items() if dataclasses.is_dataclass(default)}


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _any_of(words: list[str], joint: str = "or") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {joint} {words[-1]}"


def _show(value: Any) -> str:
    """A value for an error message: on one line, short, unmistakable."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
