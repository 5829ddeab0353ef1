"""What a config may say: types, ranges, and what no field can say by itself. Every problem is found at once."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
import types
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

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
MIN_DISTANCE = 1.1  # of a camera from the centre of the unit ball
EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")  # 1e-3, which YAML 1.1 reads as text
EXPECTED = {bool: "true or false", int: "a whole number", float: "a number"}


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
    "CSDConfig.guidance_scale": Range(0, 1000),
    "NFSDConfig.guidance_scale": Range(0, 1000),
    "NFSDConfig.t_switch": FRACTION,
    "ISMConfig.guidance_scale": Range(0, 1000),
    "ISMConfig.delta_s": Range(0, 1, open_low=True),
    "ISMConfig.delta_t": Range(0, 1, open_low=True),
    "SDEditConfig.guidance_scale": Range(0, 1000),
    "SDEditConfig.steps": Range(1, 1000),
    "SDIConfig.guidance_scale": Range(0, 1000),
    "SDIConfig.inversion_guidance_scale": Range(-1000, 1000),
    "SDIConfig.inversion_steps": Range(1, 1000),
    "SDIConfig.eta": FRACTION,
    "VSDConfig.guidance_scale": Range(0, 1000),
    "VSDConfig.rank": Range(1, 256),
    "VSDConfig.lr": Range(0, 1, open_low=True),
    "VSDConfig.train_steps": Range(1, 100),
    "MVDreamConfig.vae_batch": Range(0, 1024),
    "StableDiffusionConfig.vae_batch": Range(0, 1024),
    "CameraConfig.elevation_deg": Range(-90, 90),
    "CameraConfig.distance": Range(0.1, 100),
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


Problems = list[tuple[str, str]]  # (key, what is wrong)


def refuse(problems: Problems, sources: dict[str, str]) -> None:
    """UserError with all `problems`, if there are any; `sources` says "file:line: " for keys from a file."""
    if problems:
        raise UserError("; ".join(f"{sources.get(key, '')}{key}: {text}" for key, text in problems))


def build(hint: Any, value: Any, base: Any, key: str, problems: Problems, limits: Range | None = None) -> Any:
    """`value` as the type `hint`, or None with the reason in `problems`.

    Text is bytes in `value`; where something else is expected it is read as YAML. What a mapping leaves out is as in
    `base`, or at its default if `base` is of another type.
    """
    if isinstance(value, bytes):
        text = value.decode("utf-8", "surrogatepass")
        if hint is str or (get_origin(hint) is Literal and text in get_args(hint)):
            return text
        value = read_value(text)
    if get_origin(hint) in (Union, types.UnionType):
        hint = _member(hint, value, base, key, problems)
    if hint is None:
        return None
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, base, key, problems, limits)
    if get_origin(hint) is tuple:
        return _tuple(get_args(hint), value, key, problems, limits)
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        return problems.append((key, f"expected {_any_of(choices)}, got {show(value)}{did_you_mean(value, choices)}"))
    return _scalar(hint, value, key, problems, limits)


def _dataclass(cls: type, value: Any, base: Any, key: str, problems: Problems, limits: Range | None) -> Any:
    hints = get_type_hints(cls)
    if not isinstance(value, dict):
        return problems.append((key, f"expected the keys of {_any_of(hints, 'and')}, got {show(value)}"))
    base, built = base if isinstance(base, cls) else cls(), {}
    for name, item in value.items():
        path = f"{key}.{name}" if key else name
        if name not in hints:
            problems.append((path, f"unknown key{did_you_mean(name, hints) or '; known: ' + ', '.join(hints)}"))
            continue
        item_limits = RANGES.get(f"{cls.__name__}.{name}", limits)
        built[name] = build(hints[name], item, getattr(base, name), path, problems, item_limits)
    return dataclasses.replace(base, **built)


def _member(union: Any, value: Any, base: Any, key: str, problems: Problems) -> type | None:
    """The dataclass of a union that `value` names by its kind."""
    kinds = {get_args(get_type_hints(cls)["kind"])[0]: cls for cls in get_args(union)}
    kind = value.get("kind", getattr(base, "kind", None)) if isinstance(value, dict) else None
    kind = kind.decode("utf-8", "surrogatepass") if isinstance(kind, bytes) else kind
    if isinstance(kind, str) and kind in kinds:
        return kinds[kind]
    return problems.append((f"{key}.kind", f"expected {_any_of(kinds)}, got {show(kind)}{did_you_mean(kind, kinds)}"))


def _tuple(items: tuple, value: Any, key: str, problems: Problems, limits: Range | None) -> Any:
    if not isinstance(value, list):
        return problems.append((key, f"expected a list such as [1, 2], got {show(value)}"))
    if items[-1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        return problems.append((key, f"expected {len(items)} values, got {len(value)}"))
    pairs = enumerate(zip(items, value, strict=True))
    return tuple(build(hint, item, None, f"{key}.{index}", problems, limits) for index, (hint, item) in pairs)


def _scalar(hint: type, value: Any, key: str, problems: Problems, limits: Range | None) -> Any:
    if isinstance(value, dict) and value:
        return problems.append((f"{key}.{next(iter(value))}", f"{key} is one value and has no keys"))
    if hint is str:
        return problems.append((key, f"expected text, got {show(value)}; put it in quotes"))
    if isinstance(value, str) and EXPONENT.fullmatch(value):
        value = float(value)
    truth = isinstance(value, bool)
    number = isinstance(value, int | float) and not truth and abs(value) < 1e300  # false for nan
    if not {bool: truth, float: number, int: number and value == int(value)}[hint]:
        return problems.append((key, f"expected {EXPECTED[hint]}, got {show(value)}"))
    if limits is not None and value not in limits:
        return problems.append((key, f"{show(value)} is out of range: {limits}"))
    return hint(value)


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


def check_config(cfg: Config) -> Iterator[tuple[str, str]]:
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
    priors = {"prior": cfg.prior} | {f"stages.{index}.prior": stage.prior for index, stage in enumerate(cfg.stages)}
    for key, prior in priors.items():
        if isinstance(prior, StableDiffusionConfig) and prior.perp_neg and not prior.view_texts:
            yield f"{key}.perp_neg", "keeps away from what view_texts say of the other sides; set view_texts=true"
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
                f"views may stand {nearest:.3g} from the centre; the object fills the unit ball, so at least "
                f"{MIN_DISTANCE:g}" + (" = distance / tan(fov_deg / 2), as zoom says" if cameras.zoom else ""),
            )


def _check_estimator(cfg: Config, stage: StageConfig) -> Iterator[tuple[str, str]]:
    """What is wrong with the estimator of `stage`: (field, problem)."""
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
    text = json.dumps(value, ensure_ascii=False, default=lambda item: item.decode("utf-8", "surrogatepass"))
    return text if len(text) <= 60 else text[:57] + "..."


def _any_of(words: Iterable[str], joint: str = "or") -> str:
    *first, last = words
    return f"{', '.join(first)} {joint} {last}" if first else last
