"""Which words of a prompt the captions of a prior's training had: of others, its text encoder only guesses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from sds3d.config.schema import Config, PocketConfig
from sds3d.priors.weights import POCKET

WORDS = "words.txt"  # beside the weights, one word a line
GUESSED = "words that no caption of the prior's training had, so that it guesses what they mean"
# words that change nothing of what is meant
EMPTY = frozenset(
    ("a", "an", "the", "this", "that", "these", "those", "my", "your", "our", "his", "her", "its", "some", "any")
    + ("very", "really", "please")
)


def words_of(text: str) -> list[str]:
    """The words of `text` in their order, in lower case."""
    return re.findall(r"[^\W\d_]+", text.lower())


def known_words(captions: Iterable[str]) -> str:
    """The content of WORDS after a training on `captions`."""
    words = {word for caption in captions for word in words_of(caption)}
    return "".join(f"{word}\n" for word in sorted(words))


def unseen_words(prompt: str, folder: Path) -> list[str]:
    """The words of `prompt`, each once, that no caption had from which the prior in `folder` learned.

    Singular and plural are one. None where the folder does not say what its captions were.
    """
    path = folder / WORDS
    if not path.is_file():
        return []
    known = set(path.read_text(encoding="utf-8", errors="replace").split())
    asked = [word for word in dict.fromkeys(words_of(prompt)) if word not in EMPTY]
    return [word for word in asked if known.isdisjoint({word, f"{word}s", word.removesuffix("s")})]


def unseen_words_of(cfg: Config) -> list[str]:
    """The words of the prompt, each once, that some pocket prior of the run never learned."""
    priors = dict.fromkeys(cfg.prior_of(stage) for stage in cfg.stages)
    folders = [Path(prior.path) if prior.path else POCKET for prior in priors if isinstance(prior, PocketConfig)]
    return list(dict.fromkeys(word for folder in folders for word in unseen_words(cfg.prompt, folder)))
