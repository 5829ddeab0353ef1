"""Which words of a prompt the captions of a prior's training had: of others, its text encoder only guesses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

WORDS = "words.txt"  # beside the weights, one word a line
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
