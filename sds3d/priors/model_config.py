"""Checks of the fields of a model's JSON configs; a wrong one is a UserError of one line that names file and field."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sds3d.config.checks import show
from sds3d.errors import UserError

# Numbers of layers: a nonsense value would build networks without end.
LAYERS = ("layers_per_block", "transformer_layers_per_block", "num_layers", "num_hidden_layers")
MAX_LAYERS = 1000
# What transformers' text encoders read; sizes agree with the tensors, which is checked when these are loaded.
TEXT_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "max_position_embeddings")
TEXT_EPSILONS = ("layer_norm_eps", "layer_norm_epsilon")


def number(
    config: Mapping[str, Any], name: str, where: Path, low: float, high: float, default: float | None = None
) -> float:
    """The number `name` of `config`, within [low, high]; `default` if it is absent or null."""
    value = config.get(name)
    if value is None:
        value = default
    if value is None or not _is_number(value) or not low <= value <= high:
        raise wrong(where, name, f"a number from {low:g} to {high:g}", value)
    return float(value)


def whole(config: Mapping[str, Any], name: str, where: Path, low: int, high: int, default: int | None = None) -> int:
    """The whole number `name` of `config`, within [low, high]; `default` if it is absent or null."""
    value = config.get(name)
    if value is None:
        value = default
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise wrong(where, name, f"a whole number from {low} to {high}", value)
    return value


def flag(config: Mapping[str, Any], name: str, where: Path, default: bool) -> bool:
    """The boolean `name` of `config`; `default` if it is absent or null."""
    value = config.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise wrong(where, name, "true or false", value)
    return value


def choice(config: Mapping[str, Any], name: str, where: Path, options: Iterable[str], default: str) -> str:
    """The text `name` of `config`, one of `options`; `default` if it is absent."""
    value = config.get(name, default)
    if value not in tuple(options):
        raise wrong(where, name, " or ".join(options), value)
    return value


def wrong(where: Path, name: str, expected: str, got: Any) -> UserError:
    """The error for the field `name` in the file `where`."""
    return UserError(f"{where}: {name}: expected {expected}, got {show(got)}; download it again")


def check_network(cls: type, config: Mapping[str, Any], where: Path) -> None:
    """Raises UserError unless the fields of `config` have the types of the defaults of `cls`, a network of diffusers.

    Numbers and truth values may also be lists of such, one for each block, as in many published configs.
    """
    check_layers(config, where)
    for name, parameter in inspect.signature(cls.__init__).parameters.items():  # type: ignore[misc]
        value, default = config.get(name), parameter.default
        if value is None or default is None or default is inspect.Parameter.empty:
            continue
        if isinstance(default, bool) and not all(isinstance(x, bool) for x in _flat(value)):
            raise wrong(where, name, "true or false", value)
        if _is_number(default) and not all(_is_number(x) for x in _flat(value)):
            raise wrong(where, name, "a number", value)
        if isinstance(default, str) and not isinstance(value, str):
            raise wrong(where, name, f"a text such as {default!r}", value)
        if isinstance(default, tuple) and not isinstance(value, list | tuple):
            raise wrong(where, name, "a list", value)


def check_autoencoder(config: Mapping[str, Any], where: Path) -> None:
    """Raises UserError unless the latents of the autoencoder are scaled in a supported way."""
    number(config, "scaling_factor", where, 1e-6, 1e6, 0.18215)  # the default of diffusers
    number(config, "shift_factor", where, -1e6, 1e6, 0.0)
    flag(config, "force_upcast", where, True)
    if config.get("latents_mean") is not None or config.get("latents_std") is not None:
        raise UserError(f"{where}: latents with a mean and a standard deviation for each channel are not supported")


def check_text_encoder(config: Mapping[str, Any], where: Path) -> None:
    """Raises UserError unless the fields of a text encoder that transformers does not check are sound."""
    check_layers(config, where)
    for name in TEXT_SIZES:
        if name in config:
            whole(config, name, where, 1, 10_000_000)
    for name in TEXT_EPSILONS:
        if name in config:
            number(config, name, where, 0, 1)


def check_layers(config: Mapping[str, Any], where: Path) -> None:
    """Raises UserError unless all numbers of layers are between 1 and MAX_LAYERS."""
    for name in LAYERS:
        for value in _flat(config.get(name, 1)):
            if not isinstance(value, int) or not 1 <= value <= MAX_LAYERS:
                raise wrong(where, name, f"1 to {MAX_LAYERS} layers", value)


def _flat(value: Any) -> list[Any]:
    """`value`, or all that the nested lists in it contain."""
    return [x for part in value for x in _flat(part)] if isinstance(value, list | tuple) else [value]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
