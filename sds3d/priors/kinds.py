"""Facts about each kind of prior that need no network; the only module that distinguishes the kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from sds3d.config.checks import show
from sds3d.config.schema import Config, MVDreamConfig, PocketConfig, PriorConfig, StableDiffusionConfig
from sds3d.errors import UserError
from sds3d.files import read_json, user_path
from sds3d.priors.known import existing_path, find_known, locate, unknown_model
from sds3d.priors.weights import POCKET, Found, content_id, read_manifest

if TYPE_CHECKING:
    import torch

    from sds3d.interfaces import Prior
    from sds3d.priors.blueprint import Blueprint

GUESSED = "words that the prior has not seen in training, so it guesses their meaning"
OTHER_DTYPE = "choose another prior.dtype (bfloat16 or float32)"


@dataclass(frozen=True)
class PriorKind:
    """The properties of a configured prior that need no weights; its functions import heavy modules lazily."""

    find: Callable[[str], Found]  # takes the config key, for messages; UserError explains how to get the weights
    load: Callable[[Found, torch.device], Prior]
    blueprint: Callable[[str], Blueprint]  # takes "cuda" or "cpu"; the networks without weights
    unseen_words: Callable[[str], list[str]]  # the words of a prompt that the prior has not seen
    unread_end: Callable[[str, bool], str]  # of a prompt, negative or not: what its text encoder does not read
    preset: str | None  # the preset that suits this prior; None: the defaults
    longer_preset: str | None  # a preset that takes more time for a better result
    extra_rows: int  # batch rows per image of a network call, besides one row per text
    compiles: bool  # uses torch.compile on a GPU, which needs a C compiler
    small: bool  # fits on any GPU, so memory is not measured
    remedy: str  # for non-finite predictions, in messages


def kind_of(cfg: PriorConfig) -> PriorKind:
    """The properties of the prior that `cfg` describes."""
    match cfg:
        case PocketConfig():
            return PriorKind(
                find=partial(_find_pocket, cfg.path),
                load=_load_pocket,
                blueprint=partial(_pocket_blueprint, cfg),
                unseen_words=partial(_unseen_words, cfg),
                unread_end=partial(_unread_by_pocket, cfg),
                preset=None,
                longer_preset="quality",
                extra_rows=0,
                compiles=False,
                small=True,
                remedy="check the prior's weights",
            )
        case MVDreamConfig():
            return PriorKind(
                find=partial(_find_mvdream, cfg.path),
                load=partial(_load_mvdream, cfg),
                blueprint=partial(_latent_blueprint, cfg, num_views=4, float32_text=True),
                unseen_words=_no_words,
                unread_end=partial(_unread_by_mvdream, cfg),
                preset="mvdream-gaussians",
                longer_preset=None,
                extra_rows=0,
                compiles=cfg.compile,
                small=False,
                remedy=OTHER_DTYPE,
            )
        case StableDiffusionConfig():
            return PriorKind(
                find=partial(_find_known, cfg.path),
                load=partial(_load_stable_diffusion, cfg),
                blueprint=partial(_latent_blueprint, cfg, num_views=1, float32_text=False),
                unseen_words=_no_words,
                unread_end=partial(_unread_by_stable_diffusion, cfg),
                preset="stable-diffusion",
                longer_preset=None,
                extra_rows=2 * cfg.perp_neg,  # the front and side views that Perp-Neg uses as negatives
                compiles=cfg.compile,
                small=False,
                remedy=OTHER_DTYPE,
            )
        case _:
            assert_never(cfg)


def nonfinite_remedy(cfg: PriorConfig) -> str:
    """What a user can do about non-finite predictions of the prior that `cfg` describes."""
    return f"{kind_of(cfg).remedy}, a lower guidance_scale or another seed"


def named_priors(cfg: Config) -> dict[PriorConfig, str]:
    """The priors of all stages of a run, each with the first config key that refers to it."""
    priors: dict[PriorConfig, str] = {}
    for index, stage in enumerate(cfg.stages):
        prior = cfg.prior_of(stage)
        priors.setdefault(prior, f"stages.{index}.prior.path" if prior is stage.prior else "prior.path")
    return priors


def find_priors(cfg: Config) -> dict[PriorConfig, Found]:
    """The weights of each prior of a run; UserError lists everything that is missing."""
    found, problems = {}, []
    for prior, key in named_priors(cfg).items():
        try:
            found[prior] = kind_of(prior).find(key)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("; ".join(problems))
    return found


def prior_ids(cfg: Config, found: Mapping[PriorConfig, Found] | None = None) -> list[str]:
    """The weights id of each stage; weights are searched for unless `found` is given."""
    found = find_priors(cfg) if found is None else found
    return [found[cfg.prior_of(stage)].id for stage in cfg.stages]


def unseen_words_of(cfg: Config) -> list[str]:
    """The unique words of the prompt that at least one prior of the run has not seen in training."""
    words = (word for prior in named_priors(cfg) for word in kind_of(prior).unseen_words(cfg.prompt))
    return list(dict.fromkeys(words))


def unread_texts_of(cfg: Config) -> dict[str, str]:
    """The end of the prompt and of the negative prompt that at least one prior of the run does not read.

    By config key; a text that all priors read whole has no entry.
    """
    unread = {}
    for key, text, negative in (("prompt", cfg.prompt, False), ("negative_prompt", cfg.negative_prompt, True)):
        ends = [kind_of(prior).unread_end(text, negative) for prior in named_priors(cfg)]
        if end := max(ends, key=len):
            unread[key] = end
    return unread


def unread_message(key: str, end: str) -> str:
    """The warning for an entry of `unread_texts_of`."""
    return f"{key}: too long: the text encoder does not read its end, {show(end)}; shorten it"


def prior_named(given: str, key: str) -> PriorConfig:
    """The config of a prior given as "pocket", a known model's name, a file or a folder; `key` is for messages."""
    if given == "pocket":
        return PocketConfig()
    existing, model = existing_path(given), find_known(given)
    if existing is not None:
        return _prior_in(existing)
    if model is None:
        raise unknown_model(given, key)
    return MVDreamConfig(path=given) if model.kind == "mvdream" else StableDiffusionConfig(path=given)


def _prior_in(path: Path) -> PriorConfig:
    """The config of the prior in a file or folder, from its content."""
    absolute = str(path.absolute())
    if path.is_file():
        return MVDreamConfig(path=absolute)  # the only kind that can be a single file
    if (path / "unet" / "weights.int8.safetensors").is_file():
        return PocketConfig(path=absolute)
    try:
        config = read_json(path / "unet" / "config.json")
    except (OSError, ValueError):
        config = {}  # the loader reports the error
    is_multi_view = config.get("class_embed_type") == "projection" or "camera_dim" in config
    return MVDreamConfig(path=absolute) if is_multi_view else StableDiffusionConfig(path=absolute)


def _find_pocket(path: str, key: str) -> Found:
    folder = existing_path(path) if path else POCKET
    if folder is None:
        raise UserError(f"{key}: {path}: no such folder; expected a folder made by `sds3d prior train`")
    read_manifest(folder)
    return Found(folder, content_id(folder))


def _find_known(path: str, key: str) -> Found:
    found = locate(path, key)
    return Found(found, content_id(found))


def _find_mvdream(path: str, key: str) -> Found:
    found = locate(path, key)
    if not found.is_file():
        return Found(found, content_id(found))
    from sds3d.priors.mvdream.files import find_tokenizer  # which imports torch

    return Found(found, content_id(found, find_tokenizer(found)))


def _load_pocket(found: Found, device: torch.device) -> Prior:
    from sds3d.priors.pocket.prior import load_pocket

    return load_pocket(found.path, device)


def _load_mvdream(cfg: MVDreamConfig, found: Found, device: torch.device) -> Prior:
    from sds3d.priors.mvdream.prior import load_mvdream

    return load_mvdream(cfg, found, device)


def _load_stable_diffusion(cfg: StableDiffusionConfig, found: Found, device: torch.device) -> Prior:
    from sds3d.priors.stable_diffusion import load_stable_diffusion

    return load_stable_diffusion(cfg, found, device)


def _pocket_blueprint(cfg: PocketConfig, device_type: str) -> Blueprint:
    from sds3d.priors.blueprint import pocket_blueprint

    return pocket_blueprint(_find_pocket(cfg.path, "prior.path").path)


def _latent_blueprint(
    cfg: MVDreamConfig | StableDiffusionConfig, device_type: str, *, num_views: int, float32_text: bool
) -> Blueprint:
    from sds3d.priors.blueprint import latent_blueprint

    return latent_blueprint(
        cfg.path, cfg.dtype, cfg.vae_batch, device_type, num_views=num_views, float32_text=float32_text
    )


def _unseen_words(cfg: PocketConfig, prompt: str) -> list[str]:
    from sds3d.priors.pocket.words import unseen_words

    return unseen_words(prompt, user_path(cfg.path) if cfg.path else POCKET)


def _unread_by_pocket(cfg: PocketConfig, prompt: str, negative: bool) -> str:
    from sds3d.priors.pocket.words import unread_end

    return unread_end(prompt, user_path(cfg.path) if cfg.path else POCKET)


def _unread_by_mvdream(cfg: MVDreamConfig, prompt: str, negative: bool) -> str:
    from sds3d.priors.clip_tokenizer import clean_text, read_tokenizer, unread_end
    from sds3d.priors.mvdream.files import find_tokenizer

    path = locate(cfg.path)
    tokenizer = read_tokenizer(path / "tokenizer" if path.is_dir() else find_tokenizer(path))
    return unread_end(tokenizer, clean_text(prompt))


def _unread_by_stable_diffusion(cfg: StableDiffusionConfig, prompt: str, negative: bool) -> str:
    """What CLIP does not read; T5, which some folders of Stable Diffusion 3 have, reads more."""
    from sds3d.priors.clip_tokenizer import read_tokenizer, unread_end
    from sds3d.priors.views import VIEWS

    views = VIEWS if cfg.view_texts and prompt and not negative else ("",)
    tokenizer = read_tokenizer(locate(cfg.path) / "tokenizer")
    return max((unread_end(tokenizer, prompt, view) for view in views), key=len)


def _no_words(prompt: str) -> list[str]:
    """No words: Stable Diffusion's text encoders were trained on web-scale text."""
    return []
