"""Paints of random colors and finishes, and the wording of captions."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sds3d.procedural.objects.colors import COLORS, PLAIN, SHADES
from sds3d.procedural.objects.synonyms import ADJECTIVES, NOUNS, PARTS
from sds3d.procedural.parts import GLOSSY, GLOWING, METALLIC, Pattern, Vec3

# Words that no training caption contains. They test whether the prior understands new words.
HELD_OUT = (
    "toadstool", "automobile", "lorry", "jet", "steamboat", "cottage", "fortress", "beacon", "fir", "shrub",
    "doughnut", "beverage", "saucer", "kettle", "jar", "flask", "puppy", "kitten", "piglet", "duckling", "hen",
    "lantern", "armchair", "hatchet", "blade", "android", "chalice", "orb", "parcel", "crimson", "azure", "ivory",
    "emerald", "violet", "magenta", "charcoal", "spotted", "speckled", "polka", "gleaming", "lofty", "slender",
)  # fmt: skip

# three woods: a base color, and the words that describe it
WOODS: tuple[tuple[Vec3, tuple[str, ...]], ...] = (
    ((0.62, 0.41, 0.22), ("wooden", "wood", "oak", "timber", "oak wood")),
    ((0.48, 0.29, 0.14), ("wooden", "wood", "walnut", "dark wood", "walnut wood")),
    ((0.76, 0.56, 0.34), ("wooden", "wood", "pine wood", "light wood", "pale wood")),
)
RANDOM_COLORS = tuple(
    name for name in COLORS for _ in range(1 if name in ("gold", "silver", "bronze", "beige", "grey") else 2)
)
# colors that are easily confused; two parts that a caption distinguishes never have them
CLOSE: dict[str, tuple[str, ...]] = {
    "brown": ("wooden", "beige", "bronze"),
    "wooden": ("brown", "beige", "bronze"),
    "bronze": ("brown", "wooden", "beige", "gold", "orange"),
    "beige": ("brown", "wooden", "white", "gold", "bronze"),
    "white": ("beige", "silver"),
    "grey": ("silver", "stone"),
    "silver": ("grey", "white", "stone"),
    "stone": ("grey", "silver"),
    "gold": ("yellow", "orange", "beige", "bronze"),
    "yellow": ("gold",),
    "orange": ("gold", "bronze"),
}
METALS = ("gold", "silver", "bronze")
SHADE_SHARE = 0.4  # of free colors; plain names remain the most common
ALIKE = 0.2  # two sRGB colors at a smaller distance are too similar to have different names
MASS_NOUNS = (
    "frosting", "icing", "glaze", "hair", "snow", "tea", "coffee", "fur", "trim", "lettuce", "salad", "soup",
    "cream", "gelato", "foliage", "dice", "seaweed", "flesh", "sand", "soil", "straw", "syrup", "butter", "water",
    "rice",
    "paint", "sauce", "ketchup", "mustard", "sushi", "earth", "cheese", "skin",
)  # fmt: skip
PLAIN_SHARE = 0.5  # of captions, which have no frame
MAX_FRAMED_LENGTH = 60  # letters; longer captions have no frame, so that they fit in 24 word pieces
FRAMES = (
    "a 3d model of {}", "a 3d render of {}", "a 3d asset of {}", "a photo of {}",
    "a DSLR photo of {}", "a picture of {}", "an image of {}", "a rendering of {}", "a figurine of {}",
    "a miniature of {}", "a sculpture of {}", "a cartoon of {}", "{}, 3d asset", "{}, 3d model", "{}, 3d render",
    "{}, game asset", "{}, highly detailed", "{}, high quality", "{}, studio lighting", "{}, cartoon style",
)  # fmt: skip
STYLES = (
    "toy",
    "cute",
    "cartoon",
    "stylized",
    "realistic",
    "low poly",
    "detailed",
    "beautiful",
    "simple",
    "lovely",
    "nice",
)
PATTERNED = {"dots": "dotted with", "spots": "dotted with", "stripes": "striped with", "checks": "checkered with"}
WORN = ("scarf", "hat", "collar", "bow tie")
LINKS = ("with", "with", "with", "that has", "featuring")


class Paint(NamedTuple):
    """A surface: its colors (sRGB), pattern and shine, and the words that describe it."""

    name: str
    words: tuple[str, ...]  # the most common first
    color: Vec3
    color2: Vec3 = (1.0, 1.0, 1.0)
    pattern: Pattern = "plain"
    pattern_scale: float = 6.0
    shine: float = 0.0


@dataclass
class Words:
    """Everything that a caption of an object may say; all of it is true, and all of it is optional."""

    nouns: tuple[str, ...]
    main: Paint | None = None  # the color of the object as a whole
    adjectives: list[str] = field(default_factory=list)
    details: Sequence[tuple[Paint | str, str]] = ()  # (color or adjective, names of the part: "a|b")
    typical: bool = False  # the colors are those that one expects if a caption names none


def _jitter(rng: random.Random, color: Vec3, amount: float = 0.03) -> Vec3:
    r, g, b = (min(1.0, max(0.0, c + rng.uniform(-amount, amount))) for c in color)
    return (r, g, b)


def make_paint(rng: random.Random, name: str, shine: float = 0.0, shades: float = 0.0) -> Paint:
    """A random paint with a color of PLAIN, or "wooden" (a grain of two browns), or "stone" (two grays).

    `shades` is the probability of a color of SHADES instead.
    """
    if name == "wooden":
        color, words = rng.choice(WOODS)
        base = _jitter(rng, color)
        grain = (base[0] * 0.82, base[1] * 0.80, base[2] * 0.76)
        return Paint(name, words, base, grain, "stripes", rng.uniform(6, 9), shine)
    if name == "stone":
        grey = rng.uniform(0.52, 0.68)
        dark = grey * 0.86
        words = ("stone", "grey stone", "gray stone", "stone brick")
        return Paint(name, words, (grey, grey, grey * 0.97), (dark, dark, dark), "checks", 6.0)
    color, words = rng.choice((SHADES if rng.random() < shades else PLAIN)[name])
    return Paint(name, words, _jitter(rng, color), shine=METALLIC if name in METALS else shine)


def _alike(one: Paint, other: Paint) -> bool:
    return math.dist(one.color, other.color) < ALIKE


def darker(paint: Paint, share: float = 0.8) -> Paint:
    """`paint` as it looks in a hollow: plain, with `share` of the brightness."""
    r, g, b = (share * c for c in paint.color)
    return paint._replace(pattern="plain", color=(r, g, b))


def glowing(paint: Paint) -> Paint:
    """`paint` for a surface that emits light."""
    return paint._replace(shine=GLOWING)


class Palette:
    """The paints of an object: typical colors in two of five samples, else any colors; one finish for all."""

    def __init__(self, rng: random.Random, glossy: float = 0.25, glossy_words: Sequence[str] = ("shiny", "glossy")):
        self.rng = rng
        self.typical = rng.random() < 0.4
        is_glossy = rng.random() < glossy
        self.shine = GLOSSY if is_glossy else 0.0
        self.adjectives = [rng.choice(tuple(glossy_words))] if is_glossy else []

    def pick(self, *typical: str, unlike: Sequence[Paint] = (), also: Sequence[str] = ()) -> Paint:
        """A paint with one of the `typical` names, or in other samples any color or one of `also`; never like `unlike`.

        Typical colors are plain, so that an object looks as expected if its caption names no color.
        """
        taken = {name for p in unlike for name in (p.name, *CLOSE.get(p.name, ()))}
        pool = typical if self.typical else RANDOM_COLORS + 3 * tuple(also)
        pool = tuple(n for n in pool if n not in taken) or tuple(n for n in RANDOM_COLORS if n not in taken)
        while True:
            paint = make_paint(self.rng, self.rng.choice(pool), self.shine, 0.0 if self.typical else SHADE_SHARE)
            if self.typical or not any(_alike(paint, other) for other in unlike):  # for plain colors, CLOSE suffices
                return paint

    def fixed(self, *names: str) -> Paint:
        """A paint with one of `names` in every sample, for parts whose color belongs to the object."""
        return make_paint(self.rng, self.rng.choice(names), self.shine)

    def patterned(self, base: Paint, pattern: Pattern, scale: float, second: Paint) -> Paint:
        """`base` with a `pattern` in the color of `second`; scale in repeats per unit."""
        return base._replace(pattern=pattern, pattern_scale=scale, color2=second.color)


def sized(value: float, low: float, high: float, small: str, large: str) -> list[str]:
    """[small] below `low`, [large] above `high`, else []."""
    return [small] if value < low else [large] if value > high else []


def _is_plural(noun: str) -> bool:
    return noun in ("feet", "teeth") or (noun.endswith("s") and not noun.endswith(("ss", "us")))


def with_article(phrase: str) -> str:
    """`phrase` after "a" or "an", or alone if its noun has no article."""
    noun = phrase.split()[-1]
    if noun in MASS_NOUNS or _is_plural(noun):
        return phrase
    vowel = phrase.startswith("hour") or (phrase[0] in "aeiou" and not phrase.startswith("ufo"))
    return ("an " if vowel else "a ") + phrase


def pick_word(rng: random.Random, words: Sequence[str]) -> str:
    """The first (most common) word with probability 1/2, else a random one."""
    return words[0] if rng.random() < 0.5 else rng.choice(words)


def _pick_synonym(rng: random.Random, word: str, synonyms: Mapping[str, tuple[str, ...]]) -> str:
    """`word` itself with probability 1/2, else one of its synonyms."""
    return rng.choice(synonyms[word]) if word in synonyms and rng.random() < 0.5 else word


def caption(rng: random.Random, words: Words) -> str:
    """A random caption: the noun alone, or with up to three of the object's colors, materials, sizes and details."""
    noun = _pick_synonym(rng, rng.choice(words.nouns), NOUNS)
    adjective = ""
    if words.adjectives and rng.random() < 0.4:
        adjective = _pick_synonym(rng, rng.choice(words.adjectives), ADJECTIVES)
    elif rng.random() < 0.08:
        adjective = rng.choice(STYLES)
    bare = rng.random() < (0.35 if words.typical else 0.08) or not (words.main or words.details)
    color, tail = ("", "") if bare else _describe(rng, words)
    named = f"{color} {noun}".strip()
    head = f"{adjective} {named}" if adjective and adjective not in named else named
    if rng.random() < 0.3 * PLAIN_SHARE:
        return head + tail
    return framed(rng, with_article(head) + tail)


def framed(rng: random.Random, text: str) -> str:
    """`text` alone or in a frame such as "a photo of ..."."""
    if rng.random() < PLAIN_SHARE:
        return text
    longer = rng.choice(FRAMES).format(text)
    return longer if len(longer) <= MAX_FRAMED_LENGTH else text


def noun_phrase(rng: random.Random, words: Words, size: str = "", plural: bool = False) -> str:
    """A short name of an object without an article: size, usually color, and noun."""
    noun = rng.choice(words.nouns)
    if rng.random() < 0.3:
        noun = rng.choice(NOUNS[noun])
    color = pick_word(rng, words.main.words) if words.main and rng.random() < 0.8 else ""
    return " ".join(word for word in (size, color, pluralize(noun) if plural else noun) if word)


def is_countable(words: Words) -> bool:
    """Whether one can count the objects: no name is a plural or a mass noun."""
    names = [name for noun in words.nouns for name in (noun, *NOUNS[noun])]
    return not any(name.split()[-1] in MASS_NOUNS or _is_plural(name) for name in names)


_IRREGULAR = {"person": "people", "fungus": "fungi", "sheep": "sheep", "fish": "fish", "finch": "finches"}
_LINKING = (" of ", " in ", " on ", " with ")


def pluralize(noun: str) -> str:
    """The plural of a noun, or of the noun before "of", "in", "on" or "with"."""
    cuts = [noun.index(link) for link in _LINKING if link in noun]
    head, rest = (noun[: min(cuts)], noun[min(cuts) :]) if cuts else (noun, "")
    *before, last = head.split()
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("man"):
        last = last[:-3] + "men"
    elif last.endswith("fish"):
        pass
    elif last.endswith(("lf", "eaf")):
        last = last[:-1] + "ves"
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return " ".join([*before, last]) + rest


def _describe(rng: random.Random, words: Words) -> tuple[str, str]:
    """The text before the noun (the color of the whole) and after it (up to two details)."""
    main = words.main if rng.random() < 0.8 else None
    known = [d for d in words.details if d[0] is not main]
    details = rng.sample(known, min(len(known), rng.choice((0, 1, 1, 1, 2))))
    if not main and not details and words.details:
        details = [rng.choice(words.details)]
    form = rng.random()
    if main and not details and form < 0.12:
        return "", f" in {main.words[0]}" if main.name in COLORS and form < 0.07 else f" that is {main.words[0]}"
    return pick_word(rng, main.words) if main else "", _details(rng, details, form) if details else ""


def _details(rng: random.Random, details: Sequence[tuple[Paint | str, str]], form: float) -> str:
    """One or two parts with their colors, in a form selected by `form` in [0, 1).

    Only the first has rare words, since the text encoder reads only 24 word pieces.
    """
    used: dict[str, str] = {}  # one word for each color in a caption
    colors = []
    for paint, _ in details:
        if isinstance(paint, Paint):
            paint = used.setdefault(paint.name, paint.words[0] if used else pick_word(rng, paint.words))
        colors.append(paint)
    names = [rng.choice(names.split("|")) for _, names in details]
    if names[0] in PATTERNED and form < 0.4:
        return f" {PATTERNED[names[0]]} {colors[0]}"
    parts = [_pick_synonym(rng, names[0], PARTS), *names[1:]]
    if form < 0.12 and isinstance(details[0][0], Paint) and parts[0].split()[-1] not in MASS_NOUNS:
        return f" whose {parts[0]} {'are' if _is_plural(parts[0]) else 'is'} {colors[0]}"
    phrases = [f"{color} {part}".strip() for color, part in zip(colors, parts, strict=True)]
    if form < 0.3:
        return ", " + ", ".join(phrases)
    link = rng.choice(LINKS) if len(names) == 1 else "with"
    if form < 0.6 and all(name in WORN for name in names):
        link = "wearing"
    return f" {link} {' and '.join(map(with_article, phrases))}"
