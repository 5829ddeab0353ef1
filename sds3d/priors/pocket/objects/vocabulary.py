"""Colours with their names, finishes, and the wording of captions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sds3d.priors.pocket.parts import Vec3

# Words that no training caption contains: they test whether the text encoder carries meaning over to new words.
HELD_OUT = (
    "toadstool", "automobile", "lorry", "jet", "steamboat", "cottage", "fortress", "beacon", "fir", "shrub",
    "doughnut", "beverage", "saucer", "kettle", "jar", "flask", "puppy", "kitten", "piglet", "duckling", "hen",
    "lantern", "armchair", "hatchet", "blade", "android", "chalice", "orb", "parcel", "crimson", "azure", "ivory",
    "emerald", "violet", "magenta", "charcoal", "spotted", "speckled", "polka", "gleaming", "lofty", "slender",
)  # fmt: skip

# name -> variants, each a typical sRGB colour with the words that are true of it
COLORS: dict[str, tuple[tuple[Vec3, tuple[str, ...]], ...]] = {
    "red": (
        ((0.86, 0.10, 0.10), ("red", "red", "bright red", "scarlet")),
        ((0.75, 0.08, 0.12), ("red", "red", "ruby red")),
        ((0.50, 0.06, 0.09), ("dark red", "maroon", "red")),
    ),
    "orange": (((0.97, 0.50, 0.08), ("orange",)), ((0.94, 0.42, 0.10), ("orange", "bright orange"))),
    "yellow": (
        ((0.98, 0.84, 0.12), ("yellow", "yellow", "bright yellow")),
        ((0.97, 0.90, 0.35), ("yellow", "lemon yellow", "light yellow")),
    ),
    "green": (
        ((0.20, 0.66, 0.22), ("green", "green", "grass green")),
        ((0.10, 0.42, 0.18), ("green", "dark green", "forest green")),
        ((0.52, 0.80, 0.22), ("green", "lime green", "light green")),
    ),
    "blue": (
        ((0.13, 0.33, 0.85), ("blue", "blue", "bright blue")),
        ((0.10, 0.16, 0.48), ("navy", "dark blue", "navy blue", "blue")),
        ((0.42, 0.68, 0.96), ("light blue", "sky blue", "blue")),
    ),
    "purple": (((0.50, 0.18, 0.72), ("purple",)), ((0.66, 0.48, 0.86), ("purple", "lavender", "light purple"))),
    "pink": (((0.97, 0.55, 0.72), ("pink", "pink", "light pink")), ((0.95, 0.30, 0.58), ("pink", "hot pink"))),
    "brown": (
        ((0.46, 0.27, 0.13), ("brown", "brown", "chocolate brown")),
        ((0.64, 0.42, 0.22), ("brown", "light brown")),
        ((0.30, 0.17, 0.09), ("brown", "dark brown")),
    ),
    "black": (((0.07, 0.07, 0.08), ("black",)),),
    "white": (((0.95, 0.95, 0.94), ("white",)), ((0.97, 0.96, 0.92), ("white", "snow white"))),
    "grey": (((0.52, 0.53, 0.55), ("grey", "gray")), ((0.72, 0.73, 0.74), ("light grey", "grey", "gray"))),
    "teal": (((0.08, 0.62, 0.62), ("teal", "teal", "turquoise")), ((0.15, 0.80, 0.85), ("cyan", "turquoise"))),
    "beige": (((0.90, 0.80, 0.62), ("beige", "cream", "cream coloured")), ((0.83, 0.70, 0.50), ("beige", "tan"))),
    "gold": (((0.95, 0.73, 0.22), ("gold", "golden")),),
    "silver": (((0.78, 0.79, 0.82), ("silver", "silver", "metal", "chrome")),),
}
RANDOM_COLORS = tuple(
    name for name in COLORS for _ in range(2 if name not in ("gold", "silver", "beige", "grey") else 1)
)
# colours that one could take for each other: never given to two parts that a caption tells apart
CLOSE: dict[str, tuple[str, ...]] = {
    "brown": ("wooden", "beige"),
    "wooden": ("brown", "beige"),
    "beige": ("brown", "wooden", "white", "gold"),
    "white": ("beige", "silver"),
    "grey": ("silver", "stone"),
    "silver": ("grey", "white", "stone"),
    "stone": ("grey", "silver"),
    "gold": ("yellow", "orange", "beige"),
    "yellow": ("gold",),
    "orange": ("gold",),
}
METALS = ("gold", "silver")
MASS_NOUNS = ("frosting", "icing", "hair", "snow", "tea", "coffee", "fur", "cheese", "trim", "lettuce", "soup", "cream")
SINGULARS = ("bus", "cactus", "torus")
FRAMES = ("{}", "{}", "{}", "{}", "a 3d model of {}", "a 3d render of {}", "{}, 3d asset", "a toy version of {}")


class Paint(NamedTuple):
    """A surface: its colours (sRGB), pattern and shine, and the words that are true of it."""

    name: str
    words: tuple[str, ...]
    color: Vec3
    color2: Vec3 = (1.0, 1.0, 1.0)
    pattern: str = "plain"
    pattern_scale: float = 6.0
    shine: float = 0.0


@dataclass
class Words:
    """What may be said about an object: all of it is true, none of it has to be said."""

    nouns: tuple[str, ...]
    main: Paint | None = None  # the colour of the object as a whole
    adjectives: list[str] = field(default_factory=list)
    details: list[tuple[Paint | str, str]] = field(
        default_factory=list
    )  # (colour or adjective, names of the part: "a|b")
    typical: bool = False  # the colours are what one expects when none is named


def _jitter(rng: random.Random, color: Vec3, amount: float = 0.03) -> Vec3:
    r, g, b = (min(1.0, max(0.0, c + rng.uniform(-amount, amount))) for c in color)
    return (r, g, b)


def make_paint(rng: random.Random, name: str, shine: float = 0.0) -> Paint:
    """A sample of a colour of COLORS, or of "wooden" (grain of two near browns) or "stone" (two near greys)."""
    if name == "wooden":
        base = _jitter(rng, rng.choice(((0.62, 0.41, 0.22), (0.48, 0.29, 0.14), (0.76, 0.56, 0.34))))
        grain = (base[0] * 0.82, base[1] * 0.80, base[2] * 0.76)
        return Paint(name, ("wooden",), base, grain, "stripes", rng.uniform(6, 9), shine)
    if name == "stone":
        base = rng.uniform(0.52, 0.68)
        return Paint(name, ("stone",), (base, base, base * 0.97), (base * 0.86,) * 3, "checks", 6.0)
    color, words = rng.choice(COLORS[name])
    return Paint(name, words, _jitter(rng, color), shine=1.0 if name in METALS else shine)


class Palette:
    """Paints of one object: its typical colours in two of five samples, else any; one finish throughout."""

    def __init__(self, rng: random.Random, glossy: float = 0.25, glossy_words: Sequence[str] = ("shiny", "glossy")):
        self.rng = rng
        self.typical = rng.random() < 0.4
        is_glossy = rng.random() < glossy
        self.shine = 0.5 if is_glossy else 0.0
        self.adjectives = [rng.choice(tuple(glossy_words))] if is_glossy else []

    def pick(self, *typical: str, unlike: Sequence[Paint] = (), also: Sequence[str] = ()) -> Paint:
        """One of the `typical` names, or any colour (or one of `also`) in other samples; never like `unlike`."""
        taken = {name for p in unlike for name in (p.name, *CLOSE.get(p.name, ()))}
        pool = typical if self.typical else RANDOM_COLORS + 3 * tuple(also)
        pool = tuple(n for n in pool if n not in taken) or tuple(n for n in RANDOM_COLORS if n not in taken)
        return make_paint(self.rng, self.rng.choice(pool), self.shine)

    def fixed(self, *names: str) -> Paint:
        """One of `names` whatever the sample: parts whose colour makes the object what it is."""
        return make_paint(self.rng, self.rng.choice(names), self.shine)

    def patterned(self, base: Paint, pattern: str, scale: float, second: Paint) -> Paint:
        """`base` with a `pattern` in the colour of `second`; scale in repeats per unit."""
        return base._replace(pattern=pattern, pattern_scale=scale, color2=second.color)


def sized(value: float, low: float, high: float, small: str, large: str) -> list[str]:
    """[small] below `low`, [large] above `high`, else nothing to say."""
    return [small] if value < low else [large] if value > high else []


def _is_plural(noun: str) -> bool:
    return noun in ("feet", "teeth") or (noun.endswith("s") and noun not in SINGULARS)


def with_article(phrase: str) -> str:
    """`phrase` after "a" or "an", or alone where its noun takes none."""
    noun = phrase.split()[-1]
    if noun not in SINGULARS and (_is_plural(noun) or noun in MASS_NOUNS or noun == "dice"):
        return phrase
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def caption(rng: random.Random, words: Words) -> str:
    """One wording: the bare noun, or with up to three of the object's colours, materials, sizes and details."""
    noun = rng.choice(words.nouns)
    frame = rng.choice(FRAMES)
    article = frame != "{}" or rng.random() < 0.75
    extra = rng.choice(words.adjectives) + " " if words.adjectives and rng.random() < 0.4 else ""
    if rng.random() < (0.35 if words.typical else 0.08) or not (words.main or words.details):
        text = with_article(extra + noun) if article else extra + noun
        return frame.format(text) if rng.random() < 0.5 else text
    says_main = words.main is not None and rng.random() < 0.8
    known = [d for d in words.details if d[0] is not words.main] if says_main else words.details
    details = rng.sample(known, min(len(known), rng.choice((0, 1, 1, 1, 2))))
    if not says_main and not details and words.details:
        details = [rng.choice(words.details)]
    said: dict[str, str] = {}  # one word for each colour in a caption
    colors = [said.setdefault(p.name, rng.choice(p.words)) if isinstance(p, Paint) else p for p, _ in details]
    parts = [rng.choice(part.split("|")) for _, part in details]
    phrases = [f"{color} {part}".strip() for color, part in zip(colors, parts, strict=True)]
    named = extra + noun
    form = rng.random()
    if words.main and says_main:
        color = rng.choice(words.main.words)
        if form < 0.07 and words.main.name in COLORS and not details:
            return f"{with_article(named)} in {color}"
        named = f"{extra}{color} {noun}"
    if form < 0.15 and details and isinstance(details[0][0], Paint) and parts[0] not in MASS_NOUNS:
        text = f"{with_article(named)} whose {parts[0]} {'are' if _is_plural(parts[0]) else 'is'} {colors[0]}"
    elif form < 0.35 and details:
        text = ", ".join([named, *phrases])
        frame = "{}"
    elif details:
        text = f"{with_article(named) if article else named} with {' and '.join(map(with_article, phrases))}"
    else:
        text = with_article(named) if article else named
    framed = frame.format(text)
    return framed if len(framed.split()) <= 16 else text
