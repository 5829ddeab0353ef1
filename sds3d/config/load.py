"""Configs: the defaults, a YAML file and key=value overrides, merged by OmegaConf and checked by checks.py."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sds3d.config.checks import Problems, build, check_config, did_you_mean, refuse, show
from sds3d.config.schema import Config
from sds3d.config.yaml_text import read_yaml
from sds3d.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

KEY = re.compile(r"\w[\w-]*(\.\w[\w-]*){0,30}")
HERE = Path(__file__).resolve().parent
PRESET_FOLDERS = (HERE / "presets", HERE.parents[1] / "configs")  # of a built package, of a checkout


def load_config(preset: Path | None, overrides: list[str], prompt: str | None) -> Config:
    """The defaults, then the file `preset` (a path or the name of a preset), then `overrides`, then `prompt`."""
    problems: Problems = []
    document, sources = read_yaml(find_preset(preset)) if preset is not None else ({}, {})
    changes = dict(_split(overrides, problems))
    tree = _merge(dataclasses.asdict(Config()), [_leaves(document, ""), changes.items()], problems)
    if prompt is not None:
        tree["prompt"] = prompt
    sources = {key: place for key, place in sources.items() if key not in changes}
    cfg = build(Config, tree, None, "", problems)
    refuse(problems, sources)
    cfg = dataclasses.replace(cfg, prompt=cfg.prompt.strip(), negative_prompt=cfg.negative_prompt.strip())
    refuse(list(check_config(cfg)), sources)
    return cfg


def with_prompt(cfg: Config, prompt: str) -> Config:
    """`cfg` for another prompt, which is checked; it does not depend on the rest of a config."""
    cfg = dataclasses.replace(cfg, prompt=prompt.strip())
    refuse(list(check_config(cfg)), {})
    return cfg


def dump_config(cfg: Config) -> str:
    """The config as YAML; `load_config` reads it back as an equal config."""
    import yaml

    return yaml.safe_dump(dataclasses.asdict(cfg), sort_keys=False, allow_unicode=True, width=100)


def from_mapping(cls: type, mapping: dict[str, Any]) -> Any:
    """An instance of the dataclass `cls`; UserError names every unknown, mistyped and out-of-range key."""
    problems: Problems = []
    built = build(cls, mapping, None, "", problems)
    refuse(problems, {})
    return built


def find_preset(preset: Path) -> Path:
    """The file of a preset: the path itself, or the preset with this name; UserError lists the available presets."""
    if preset.exists() and not preset.is_dir():
        return preset
    name = str(preset)
    presets = {path.stem: path for folder in PRESET_FOLDERS for path in sorted(folder.glob("*.yaml"))}
    if not presets:
        raise UserError(f"no presets in {PRESET_FOLDERS[0]}; install sds3d again")
    if name not in presets:
        raise UserError(f"config {name}: no such file{did_you_mean(name, presets)}; presets: {', '.join(presets)}")
    return presets[name]


def _leaves(mapping: dict[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    """The values in nested mappings by dotted key; a list is one value, so that it replaces a list."""
    for name, value in mapping.items():
        path = f"{key}.{name}" if key else name
        if isinstance(value, dict) and value:
            yield from _leaves(value, path)
        else:
            yield path, value


def _split(overrides: list[str], problems: Problems) -> Iterator[tuple[str, Any]]:
    """Dotted keys and values from key=value."""
    for text in overrides:
        key, equals, value = text.partition("=")
        if equals and key:
            yield key, value
        else:
            problems.append((show(text), "expected key=value such as seed=1; a prompt of several words needs quotes"))


def _merge(tree: dict[str, Any], changes: list[Iterable[tuple[str, Any]]], problems: Problems) -> dict[str, Any]:
    """`tree` with the values of dotted keys, applied in the order of `changes`."""
    from omegaconf import OmegaConf

    merged = OmegaConf.create(_opaque(tree))
    for change in changes:
        _update(merged, change, problems)
    return _plain(OmegaConf.to_container(merged, resolve=False))


def _update(tree: DictConfig, changes: Iterable[tuple[str, Any]], problems: Problems) -> None:
    """Sets dotted keys, kinds first, as another kind starts from its own defaults; creates no list items."""
    from omegaconf import OmegaConf
    from omegaconf.errors import ConfigIndexError

    for key, value in sorted(changes, key=lambda change: _depth_of_kind(change[0])):
        if not KEY.fullmatch(key):  # brackets, backslashes and spaces are syntax in OmegaConf
            problems.append((key, "unknown key; expected names and indexes such as stages.0.steps"))
            continue
        parent = key.removesuffix(".kind")
        try:
            if parent != key and OmegaConf.select(tree, key) != _opaque(value):
                OmegaConf.update(tree, parent, {}, merge=False)
            OmegaConf.update(tree, key, _opaque(value), merge=False)
        except ConfigIndexError as error:
            problems.append((key, f"expected an index from 0 to {len(error.parent_node) - 1}, got {show(error.key)}"))
        except (TypeError, ValueError):
            problems.append((key, "no such key; list items have indexes such as stages.0"))


def _depth_of_kind(key: str) -> float:
    return key.count(".") if key.endswith(".kind") else math.inf


def _opaque(value: Any) -> Any:
    """`value` with its text as bytes, in which OmegaConf does not evaluate ${...}, and its tuples as lists."""
    if isinstance(value, dict):
        return {key: _opaque(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_opaque(item) for item in value]
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """`value` with its bytes as text: the inverse of _opaque."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value
