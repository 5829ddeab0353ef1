"""Words that no training caption of the pocket prior contains, each with a trained word of the same meaning."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

# trained -> held out; one to one, so that INVERSE exists
SYNONYMS: dict[str, str] = {
    "mushroom": "toadstool", "car": "automobile", "truck": "lorry", "airplane": "jet", "house": "cottage",
    "castle": "fortress", "lighthouse": "beacon", "pine tree": "fir", "donut": "doughnut", "dog": "puppy",
    "cat": "kitten", "pig": "piglet", "duck": "duckling", "lamp": "lantern", "axe": "hatchet", "sword": "blade",
    "robot": "android", "goblet": "chalice", "ball": "orb", "present": "parcel",
    "red": "crimson", "blue": "azure", "white": "ivory", "green": "emerald", "purple": "violet", "pink": "magenta",
    "black": "charcoal", "shiny": "gleaming", "tall": "lofty", "thin": "slender",
}  # fmt: skip
INVERSE = {held_out: trained for trained, held_out in SYNONYMS.items()}


def reword(text: str, words: Mapping[str, str]) -> str:
    """`text` with every key of `words`, as a whole word, replaced by its value; "a" or "an" before it is corrected."""
    return replace_words(text, whole_words(words), words.__getitem__)


def whole_words(words: Iterable[str]) -> re.Pattern[str]:
    """A pattern for any of `words` as a whole word, the longest first: "pine tree" before "pine"."""
    keys = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"\b(?:(?P<article>an?) )?(?P<word>{keys})\b")


def replace_words(text: str, found: re.Pattern[str], other: Callable[[str], str]) -> str:
    """`text` with each match of `found` (from `whole_words`) replaced by `other` of it; corrects "a" or "an" before it."""

    def replacement(match: re.Match[str]) -> str:
        word = other(match["word"])
        if match["article"] is None:
            return word
        return ("an " if word[0] in "aeiou" else "a ") + word

    return found.sub(replacement, text)
