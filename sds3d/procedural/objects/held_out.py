"""The retrieval pool: 200 captions that no training contains, each with an object that it describes.

Each caption has two wordings: with words that the prior never saw, and in trained words.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from functools import cache

from sds3d.procedural.objects import CATEGORIES, sample_object
from sds3d.procedural.objects.vocabulary import COLORS, FRAMES
from sds3d.procedural.objects.wordings import INVERSE, SYNONYMS, reword
from sds3d.procedural.parts import Part

SIZE = 200
SEED = "held-out pool"  # a text, since training runs have numbers as seeds
TRIES = 500  # captions; a category that needs more has almost none that fit


@dataclass(frozen=True)
class Held:
    """One entry of the pool."""

    category: str
    caption: str  # with a word that the prior never saw
    plain: str  # the same in trained words
    parts: list[Part]


@cache
def held_out_pool() -> tuple[Held, ...]:
    """SIZE entries, the same in every process; the first N have as many categories as possible.

    Every caption names a color and has a held-out word. Of two captions of one category, each names a color that the
    other does not, so that a picture rarely fits both.
    """
    rng = random.Random(SEED)
    pool: list[Held] = []
    while len(pool) < SIZE:
        for category in rng.sample(CATEGORIES, len(CATEGORIES)):
            used = [named_colors(held.caption) for held in pool if held.category == category]
            if held := _draw(rng, category, used):
                pool.append(held)
    return tuple(pool[:SIZE])


def _draw(rng: random.Random, category: str, used: list[frozenset[str]]) -> Held | None:
    """An entry whose colors distinguish it from those `used` in its category, or None after TRIES."""
    for _ in range(TRIES):
        parts, (plain,) = sample_object(rng, category, num_captions=1)
        caption = reword(plain, SYNONYMS)
        if caption == plain or _has_shade(plain) or unframed(plain) != plain:
            continue
        colors = named_colors(caption)
        if colors and not any(colors <= other or other <= colors for other in used):
            return Held(category, caption, plain, parts)
    return None


def named_colors(caption: str) -> frozenset[str]:
    """The keys of COLORS that `caption` names by any word, held-out words included."""
    rest = reword(caption, INVERSE)
    found = set()
    for word, color in _color_words():
        rest, count = re.subn(rf"\b{re.escape(word)}\b", " ", rest)
        if count:
            found.add(color)
    return frozenset(found)


@cache
def _color_words() -> tuple[tuple[str, str], ...]:
    """Pairs (word, key of COLORS), the longest words first, so that "brick red" is found before "red"."""
    pairs = {word: color for color, variants in COLORS.items() for _, words in variants for word in words}
    return tuple(sorted(pairs.items(), key=lambda pair: (-len(pair[0]), pair)))


def _has_shade(caption: str) -> bool:
    """Whether rewording would change a part of a color's name, such as "navy blue" to "navy azure"."""
    return any(shade in caption for shade in _shades())


@cache
def _shades() -> tuple[str, ...]:
    return tuple(word for word, _ in _color_words() if " " in word and reword(word, SYNONYMS) != word)


def unframed(caption: str) -> str:
    """`caption` without words about a picture: "a photo of ...", "..., 3d model"."""
    for before, after in (frame.split("{}") for frame in FRAMES):
        if caption.startswith(before) and caption.endswith(after):
            caption = caption.removeprefix(before).removesuffix(after)
    return caption


def bare(caption: str) -> str:
    """`caption` unframed and without its first "a" or "an": equal for captions with the same content."""
    return re.sub(r"^an? ", "", unframed(caption))


def is_held_out(caption: str) -> bool:
    """Whether `caption` is in the pool, in any frame; the prior's training skips it."""
    return bare(caption) in _bare_captions()


def holds_held_out(caption: str) -> bool:
    """Whether `caption` contains a caption of the pool; the judge's training skips it."""
    return _within().search(caption) is not None


@cache
def _bare_captions() -> frozenset[str]:
    return frozenset(bare(text) for held in held_out_pool() for text in (held.caption, held.plain))


@cache
def _within() -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(_bare_captions()))))


def pool_id() -> str:
    """Hex sha256 of the captions in order; it changes with the grammar."""
    return hashlib.sha256("\n".join(f"{held.caption}\t{held.plain}" for held in held_out_pool()).encode()).hexdigest()
