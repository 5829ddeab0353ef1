"""Checks of a config: types, ranges, and rules that involve several fields. All problems are reported at once."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
import types
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from sds3d.config.ranges import Range
from sds3d.config.schema import (
    Config,
    NFSDConfig,
    SDSConfig,
    StableDiffusionConfig,
    StageConfig,
)
from sds3d.config.yaml_text import read_value
from sds3d.errors import UserError

MAX_PROMPT = 600  # characters
MIN_DISTANCE = 1.1  # of a camera from the center of the unit ball
EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")  # 1e-3, which YAML 1.1 reads as text
EXPECTED = {bool: "true or false", int: "a whole number", float: "a number"}

Problems = list[tuple[str, str]]  # (key, what is wrong)


def refuse(problems: Problems, sources: dict[str, str]) -> None:
    """UserError with all `problems`, if there are any; `sources` maps keys from a file to "file:line: "."""
    if problems:
        raise UserError("; ".join(f"{sources.get(key, '')}{key}: {text}" for key, text in problems))


class _Wrong(Exception):
    """A value does not fit its field."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.problem = (key, problem)


@cache
def field_types(cls: type) -> dict[str, Any]:
    """The type of each field of a dataclass; with a Range in it, Annotated."""
    return get_type_hints(cls, include_extras=True)


def build(hint: Any, value: Any, base: Any, key: str, problems: Problems, limits: Range | None = None) -> Any:
    """`value` as the type `hint`, or None with the reason in `problems`.

    Text is read as YAML unless text is expected. Keys that a mapping omits keep their value in `base`, or take their
    default if `base` has another type. `limits` applies to numbers whose type names no range.
    """
    if get_origin(hint) is Annotated:
        hint, limits = get_args(hint)
    if isinstance(value, str):
        if hint is str or (get_origin(hint) is Literal and value in get_args(hint)):
            return value
        value = read_value(value)
    try:
        if get_origin(hint) in (Union, types.UnionType):
            if value is None and types.NoneType in get_args(hint):
                return None
            hint = _member(hint, value, base, key)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            return _dataclass(hint, value, base, key, problems, limits)
        if get_origin(hint) is tuple:
            return _tuple(get_args(hint), value, key, problems, limits)
        if get_origin(hint) is Literal:
            choices = get_args(hint)
            raise _Wrong(key, f"expected {_any_of(choices)}, got {show(value)}{did_you_mean(value, choices)}")
        return _scalar(hint, value, key, limits)
    except _Wrong as wrong:
        problems.append(wrong.problem)
        return None


def _dataclass(cls: type, value: Any, base: Any, key: str, problems: Problems, limits: Range | None) -> Any:
    hints = field_types(cls)
    if not isinstance(value, dict):
        raise _Wrong(key, f"expected the keys of {_any_of(hints, 'and')}, got {show(value)}")
    base, built = base if isinstance(base, cls) else cls(), {}
    for name, item in value.items():
        path = f"{key}.{name}" if key else name
        if name in hints:
            built[name] = build(hints[name], item, getattr(base, name), path, problems, limits)
        else:
            problems.append((path, f"unknown key{did_you_mean(name, hints) or '; known: ' + ', '.join(hints)}"))
    return dataclasses.replace(base, **built)


def _member(union: Any, value: Any, base: Any, key: str) -> type:
    """The dataclass of a union that `value` names by its kind."""
    kinds = {get_args(field_types(cls)["kind"])[0]: cls for cls in get_args(union) if cls is not types.NoneType}
    kind = value.get("kind", getattr(base, "kind", None)) if isinstance(value, dict) else None
    if isinstance(kind, str) and kind in kinds:
        return kinds[kind]
    raise _Wrong(f"{key}.kind", f"expected {_any_of(kinds)}, got {show(kind)}{did_you_mean(kind, kinds)}")


def _tuple(items: tuple, value: Any, key: str, problems: Problems, limits: Range | None) -> Any:
    if not isinstance(value, list | tuple):
        raise _Wrong(key, f"expected a list such as [1, 2], got {show(value)}")
    if items[-1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise _Wrong(key, f"expected {len(items)} values, got {len(value)}")
    pairs = enumerate(zip(items, value, strict=True))
    return tuple(build(hint, item, None, f"{key}.{index}", problems, limits) for index, (hint, item) in pairs)


def _scalar(hint: type, value: Any, key: str, limits: Range | None) -> Any:
    if isinstance(value, dict) and value:
        raise _Wrong(f"{key}.{next(iter(value))}", f"{key} is one value and has no keys")
    if hint is str:
        raise _Wrong(key, f"expected text, got {show(value)}; put it in quotes")
    if isinstance(value, str) and EXPONENT.fullmatch(value):
        value = float(value)
    truth = isinstance(value, bool)
    number = isinstance(value, int | float) and not truth and abs(value) < 1e300  # false for nan
    if not {bool: truth, float: number, int: number and value == int(value)}[hint]:
        raise _Wrong(key, f"expected {EXPECTED[hint]}, got {show(value)}")
    if limits is not None and value not in limits:
        raise _Wrong(key, f"{show(value)} is out of range: {limits}")
    return hint(value)


def check_prompt(prompt: str, required: bool = True) -> str | None:
    """The problem of a prompt, or None; any readable text is allowed."""
    if required and not prompt.strip():
        return 'the prompt is empty; say what to make, for example "a red mushroom with white dots"'
    if len(prompt) > MAX_PROMPT:
        return f"{len(prompt)} characters, at most {MAX_PROMPT} are allowed; shorten it"
    for character in prompt:
        if unicodedata.category(character) == "Cc":
            return f"holds the control character U+{ord(character):04X}; write it on one line of plain text"
        if unicodedata.category(character) == "Cs":
            return "is not valid Unicode text; write it in UTF-8"
    return None


def check_config(cfg: Config) -> Iterator[tuple[str, str]]:
    """Problems that involve several fields: (key, problem)."""
    for key, text, required in (("prompt", cfg.prompt, True), ("negative_prompt", cfg.negative_prompt, False)):
        problem = check_prompt(text, required)
        if problem:
            yield key, problem
    if not cfg.out or "\0" in cfg.out:
        yield "out", "expected the path of a folder"
    shape = cfg.representation
    if shape.max_gaussians < shape.num_init:
        yield "representation.max_gaussians", f"{shape.max_gaussians} is less than num_init, {shape.num_init}"
    priors = {"prior": cfg.prior} | {f"stages.{index}.prior": stage.prior for index, stage in enumerate(cfg.stages)}
    for key, prior in priors.items():
        if isinstance(prior, StableDiffusionConfig) and prior.perp_neg and not prior.view_texts:
            yield f"{key}.perp_neg", "steers away from the view_texts of the other sides; set view_texts=true"
    if not cfg.stages:
        yield "stages", "empty; a run needs at least one stage"
    for index, stage in enumerate(cfg.stages):
        if not re.fullmatch(r"[a-z0-9_-]{1,32}", stage.name):
            yield f"stages.{index}.name", f"expected 1 to 32 of a-z 0-9 _ -, got {show(stage.name)}"
        if stage.name in {other.name for other in cfg.stages[:index]}:
            yield f"stages.{index}.name", f"{show(stage.name)} is the name of an earlier stage"
        for end in ("start", "end"):
            low, high = getattr(stage.t_min, end), getattr(stage.t_max, end)
            if low > high:
                yield f"stages.{index}.t_min.{end}", f"{low:g} is above t_max.{end}, {high:g}"
        for name, problem in _check_estimator(cfg, stage):
            yield f"stages.{index}.estimator.{name}", problem
        for name in ("elevation_deg", "distance", "fov_deg"):
            low, high = getattr(stage.cameras, name)
            if low > high:
                yield f"stages.{index}.cameras.{name}", f"expected [lowest, highest], got [{low:g}, {high:g}]"
        cameras = stage.cameras
        nearest = cameras.distance[0] / (math.tan(math.radians(max(cameras.fov_deg)) / 2) if cameras.zoom else 1)
        if nearest < MIN_DISTANCE:
            yield (
                f"stages.{index}.cameras.distance",
                f"cameras may be {nearest:.3g} from the center; the object fills the unit ball, so at least "
                f"{MIN_DISTANCE:g}" + (" = distance / tan(fov_deg / 2), because zoom is set" if cameras.zoom else ""),
            )


def _check_estimator(cfg: Config, stage: StageConfig) -> Iterator[tuple[str, str]]:
    """Problems of the estimator of `stage`: (field, problem)."""
    estimator = stage.estimator
    if isinstance(estimator, NFSDConfig) and not cfg.negative_prompt:
        yield (
            "kind",
            'nfsd needs a negative prompt that says what bad images look like, such as negative_prompt="blurry"',
        )
    if isinstance(estimator, SDSConfig) and estimator.form == "epsilon" and estimator.rescale:
        yield "rescale", f"{estimator.rescale:g}, but form epsilon has no x0 to rescale; set rescale=0 or form=x0"


def did_you_mean(word: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f", did you mean '{close[0]}'?" if close else ""


def show(value: Any) -> str:
    """A value for an error message: on one line, short, unmistakable."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _any_of(words: Iterable[str], joint: str = "or") -> str:
    *first, last = words
    return f"{', '.join(first)} {joint} {last}" if first else last
