"""Training scenes: a plain object, one with another surface, several of one kind, or two kinds together."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sds3d.procedural.objects.kinds import CATEGORIES, OBJECTS
from sds3d.procedural.objects.vocabulary import (
    Paint,
    Palette,
    Words,
    caption,
    framed,
    is_countable,
    noun_phrase,
    with_article,
)  # fmt: skip
from sds3d.procedural.parts import GLOWING, MATTE, MAX_PARTS, METALLIC, Part, box_around, moved

# form of a scene -> its share
SHARES = {"object": 0.56, "surface": 0.18, "count": 0.09, "stack": 0.03, "on top": 0.07, "next to": 0.07}
STACKED = ("book", "crate", "cube", "cylinder", "barrel")  # flat above and below
SUPPORTS = ("table", "stool", "crate", "cube", "cylinder", "barrel", "book")  # flat above
SINK = 0.02  # overlap with the object below, as a share of its height in a stack, of its width otherwise
GAP = 0.15  # between objects side by side, as a share of the larger width
NUMBERS = {2: ("two", "two", "a pair of", "2"), 3: ("three", "three", "three", "3"), 4: ("four", "four", "four", "4")}
SURFACES: dict[str, tuple[str, ...]] = {
    "stripes": ("{} and {} striped", "striped {} and {}", "{} and {} stripy"),
    "dots": ("{} and {} dotted", "dotted {} and {}", "{} and {} dotty"),
    "checks": ("{} and {} checkered", "checkered {} and {}", "{} and {} checked"),
    "halves": ("{} and {} two-tone", "two-tone {} and {}", "half {} half {}", "{} and {}"),
    "metallic": ("metallic {}", "{} metallic", "{} metal"),
    "glowing": ("glowing {}", "luminous {}", "neon {}"),
    "matte": ("matte {}", "flat matte {}", "dull {}"),
}


@dataclass(frozen=True)
class Scene:
    """One or several objects in arbitrary units, a sampler of captions, and the number of separate bodies."""

    parts: list[Part]
    say: Callable[[random.Random], str]
    bodies: int = 1


def sample_scene(rng: random.Random, form: str | None = None) -> Scene:
    """A random scene of at most MAX_PARTS parts, of any form if none is given; unsuitable kinds are sampled again."""
    form = form or rng.choices(tuple(SHARES), tuple(SHARES.values()))[0]
    while True:
        match form:
            case "object":
                parts, words = OBJECTS[rng.choice(CATEGORIES)](rng)
                scene: Scene | None = Scene(parts, partial(caption, words=words))
            case "surface":
                scene = with_surface(rng, *OBJECTS[rng.choice(CATEGORIES)](rng))
            case "count":
                scene = several(rng, *OBJECTS[rng.choice(CATEGORIES)](rng))
            case "stack":
                scene = stacked(rng, *OBJECTS[rng.choice(STACKED)](rng))
            case _:
                scene = together(rng, form)
        if scene and len(scene.parts) <= MAX_PARTS:
            return scene


def with_surface(rng: random.Random, parts: list[Part], words: Words) -> Scene | None:
    """The object with a pattern, two colors or another finish on every part in its main color; None if unsuitable."""
    main = words.main
    if main is None or main.pattern != "plain" or any(p.pattern != "plain" for p in parts if p.color == main.color):
        return None
    kind = rng.choice(tuple(SURFACES))
    if kind == "matte" and main.shine > MATTE:
        return None
    second = Palette(rng).pick("white", "yellow", "black", unlike=(main,))
    color = main.words[0]
    look: dict[str, Any] = {"shine": {"metallic": METALLIC, "glowing": GLOWING}.get(kind, main.shine)}
    if kind in ("stripes", "dots", "checks"):
        low, high = box_around(parts)
        look |= {
            "pattern": kind,
            "pattern_scale": rng.uniform(5.0, 8.0) / float((high - low).max()),
            "color2": second.color,
        }
    phrases = tuple(text.format(color, second.words[0]) for text in SURFACES[kind])
    painted = [replace(p, **look) if p.color == main.color else p for p in parts]
    if kind == "halves":
        painted = _two_tone(painted, main, second)
    others = [d for d in words.details if not (isinstance(d[0], Paint) and d[0].name == main.name)]
    others = rng.sample(others, min(1, len(others)))  # two more and a surface can exceed 24 word pieces
    main = main._replace(name=f"{kind} {main.name}", words=phrases)
    return Scene(painted, partial(caption, words=Words(words.nouns, main, [], others, typical=False)))


def _two_tone(parts: list[Part], lower: Paint, upper: Paint) -> list[Part]:
    """`upper` instead of `lower` above the middle of the object; only upright parts are divided."""
    low, high = box_around([p for p in parts if p.color == lower.color])
    middle = float(low[2] + high[2]) / 2
    painted = []
    for p in parts:
        if p.color == lower.color and not p.cut:
            if p.rotation[2, 2] > 0.99:
                p = replace(p, pattern="halves", pattern_scale=middle - p.center[2], color2=upper.color)
            elif p.center[2] > middle:
                p = replace(p, color=upper.color)
        painted.append(p)
    return painted


def several(rng: random.Random, parts: list[Part], words: Words) -> Scene | None:
    """Two, three or four copies of an object: in a row, one behind two, or in a square; None if unsuitable."""
    count = rng.choice((2, 2, 3, 3, 4))
    if not is_countable(words) or count * len(parts) > MAX_PARTS:
        return None
    low, high = box_around(parts)
    depth, width = (high - low)[:2] + GAP * (high - low)[:2].max()
    row = [(0.0, k * width) for k in range(count)]
    places = {
        2: row,
        3: rng.choice((row, [(0, 0), (0, width), (-depth, width / 2)])),
        4: [(0, 0), (0, width), (-depth, 0), (-depth, width)],
    }
    copies = [p for x, y in places[count] for p in moved(parts, 1.0, np.array([x, y, 0.0]))]

    def say(rng: random.Random) -> str:
        return framed(rng, f"{rng.choice(NUMBERS[count])} {noun_phrase(rng, words, plural=True)}")

    return Scene(copies, say, count)


def stacked(rng: random.Random, parts: list[Part], words: Words) -> Scene | None:
    """Two or three copies of an object on top of each other."""
    count = rng.choice((2, 3))
    low, high = box_around(parts)
    rise = (1 - SINK) * float(high[2] - low[2])
    side = 0.06 * float((high - low)[:2].min())
    shifts = [np.array([rng.uniform(-side, side), rng.uniform(-side, side), k * rise]) for k in range(count)]
    copies = [p for shift in shifts for p in moved(parts, 1.0, shift)]

    def say(rng: random.Random) -> str:
        number, things = NUMBERS[count][0], noun_phrase(rng, words, plural=True)
        forms = (
            f"a stack of {number} {things}",
            f"{number} stacked {things}",
            f"a pile of {number} {things}",
            f"{number} {things} on top of each other",
        )
        return framed(rng, rng.choice(forms))

    return Scene(copies, say)


def together(rng: random.Random, form: str) -> Scene:
    """Two objects: the first on top of the second, or next to it and sometimes much smaller or larger."""
    on_top = form == "on top"
    (parts, words), (other, other_words) = (
        OBJECTS[rng.choice(kinds)](rng) for kinds in (CATEGORIES, SUPPORTS if on_top else CATEGORIES)
    )
    size = other_size = ""
    ratio = rng.uniform(0.8, 1.2)
    if on_top:
        ratio = rng.uniform(0.7, 0.95)
    elif rng.random() < 0.5:
        ratio, size, other_size = rng.choice(
            ((0.5, "small", "big"), (0.5, "tiny", "large"), (2.0, "big", "small"), (2.0, "large", "little"))
        )
    (low, high), (other_low, other_high) = box_around(parts), box_around(other)
    reach, other_reach = (
        ((high - low)[:2].max(), (other_high - other_low)[:2].max())
        if on_top
        else ((high - low).max(), (other_high - other_low).max())
    )
    scale = ratio * float(other_reach / reach)
    low, high = scale * low, scale * high
    shift = (other_low + other_high - low - high) / 2
    if on_top:
        shift[2] = other_high[2] - low[2] - SINK * other_reach
    else:
        wide = max(high[1] - low[1], other_high[1] - other_low[1])
        shift[1:] = other_high[1] + GAP * wide - low[1], other_low[2] - low[2]

    def say(rng: random.Random) -> str:
        one = with_article(noun_phrase(rng, words, size))
        two = with_article(noun_phrase(rng, other_words, other_size))
        link = rng.choice(
            ("on top of", "on top of", "on", "standing on") if on_top else ("next to", "next to", "beside", "near")
        )
        if rng.random() < 0.2:
            return framed(rng, f"{two} with {one} {'on top' if on_top else 'next to it'}")
        return framed(rng, f"{one} {link} {two}")

    return Scene([*other, *moved(parts, scale, shift)], say, 1 if on_top else 2)
