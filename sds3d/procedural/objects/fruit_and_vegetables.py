"""Fruit and vegetables."""

from __future__ import annotations

import math
import random

from sds3d.procedural.objects.shapes import ALONG_X, Built, around, ball, box, pair, rod, stump
from sds3d.procedural.objects.vocabulary import Palette, Words, sized
from sds3d.procedural.parts import rotation_from_euler


def apple(rng: random.Random) -> Built:
    """A round fruit with a dimple, a stalk and a leaf."""
    pal = Palette(rng, glossy=0.5)
    skin, stalk, leaf = pal.pick("red", "green"), pal.fixed("brown"), pal.fixed("green")
    tall = rng.uniform(0.41, 0.46)
    parts = [
        rod(stalk, (0, 0, 0.2), (0.03, 0, 0.54), 0.045),
        ball(leaf, (0.02, 0.16, 0.5), (0.1, 0.18, 0.05), rotation=rotation_from_euler(20, 0, 0)),
    ]  # fmt: skip
    for k in range(7):
        a = 2 * math.pi * k / 7
        turn = rotation_from_euler(0, 12, math.degrees(a))
        parts.append(ball(skin, (0.16 * math.cos(a), 0.16 * math.sin(a), 0.0), (0.33, 0.33, tall), rotation=turn))
    return parts, Words(("apple",), skin, pal.adjectives, [(leaf, "leaf"), (stalk, "stem")], pal.typical)


def pear(rng: random.Random) -> Built:
    """A round belly, a narrower neck, a stalk and a leaf."""
    pal = Palette(rng, glossy=0.3)
    skin, stalk, leaf = pal.pick("green", "yellow"), pal.fixed("brown"), pal.fixed("green")
    h = rng.uniform(0.38, 0.5)
    parts = [
        ball(skin, (0, 0, 0), (0.4, 0.4, 0.38)), stump(skin, (0, 0, 0.12 + h / 2), 0.36, h / 2, 0.62, rounding=0.03),
        ball(skin, (0, 0, 0.1 + h), (0.225, 0.225, 0.2)),
        rod(stalk, (0, 0, h + 0.2), (0.03, 0, h + 0.46), 0.045), ball(leaf, (0.02, 0.14, h + 0.4), (0.09, 0.16, 0.05)),
    ]  # fmt: skip
    return parts, Words(("pear",), skin, pal.adjectives, [(leaf, "leaf"), (stalk, "stem")], pal.typical)


def banana(rng: random.Random) -> Built:
    """A curved row of rods with dark tips."""
    pal = Palette(rng, glossy=0.1)
    skin, tip, bend = pal.pick("yellow", "yellow", "green"), pal.fixed("brown"), rng.uniform(0.35, 0.5)
    spots = [(-bend * math.cos(a), math.sin(a)) for a in (-1.0, -0.55, 0.0, 0.55, 1.0)]
    points = [(0.0, y * 0.8, x * 1.4) for x, y in spots]
    parts = [rod(skin, points[k], points[k + 1], 0.15) for k in range(4)]
    parts += [
        rod(tip, points[0], (0.0, -0.8, points[0][2] + 0.16), 0.07),
        ball(tip, (0.0, 0.76, points[4][2] + 0.09), 0.09),
    ]
    return parts, Words(("banana",), skin, [], [(tip, "tips")], pal.typical)


def strawberry(rng: random.Random) -> Built:
    """A heart of a berry, point down, dotted with seeds, under a star of leaves."""
    pal = Palette(rng, glossy=0.4)
    skin = pal.pick("red")
    seed, leaf = pal.pick("yellow", "white", unlike=(skin,)), pal.fixed("green")
    h = rng.uniform(0.4, 0.52)
    coat = pal.patterned(skin, "dots", rng.uniform(5.0, 6.0), seed)
    parts = [
        ball(coat, (0, 0, 0.16), (0.44, 0.44, 0.3)),
        rod(coat, (0, 0, -h), (0, 0, 0.1), 0.14, taper=2.6, blend=0.12),
    ]
    parts += [
        ball(
            leaf,
            (x, y, 0.44),
            (0.2, 0.09, 0.045),
            rotation=rotation_from_euler(0, 0, a) @ rotation_from_euler(0, 14, 0),
        )
        for x, y, a in around(6, 0.2)
    ]
    parts.append(rod(leaf, (0, 0, 0.42), (0.04, 0, 0.62), 0.045))
    return parts, Words(
        ("strawberry",),
        skin,
        pal.adjectives + sized(h, 0.43, 0.49, "round", "long"),
        [(seed, "seeds"), (leaf, "leaves")],
        pal.typical,
    )


def watermelon(rng: random.Random) -> Built:
    """A slice: a half disc of flesh with seeds and a green rind below."""
    pal = Palette(rng, glossy=0.2)
    flesh = pal.pick("red", "red", "pink")
    rind, white, dark = pal.fixed("green"), pal.fixed("white"), pal.fixed("black")
    if flesh.name == "green":
        flesh = pal.fixed("yellow")
    thick = rng.uniform(0.11, 0.18)
    parts = [
        stump(rind, (0, 0, 0), 0.75, thick, rotation=ALONG_X, rounding=0.02),
        stump(white, (0, 0, 0), 0.68, thick + 0.008, rotation=ALONG_X, rounding=0.0),
        stump(flesh, (0, 0, 0), 0.63, thick + 0.016, rotation=ALONG_X, rounding=0.0),
        box(flesh, (0, 0, 0.55), (0.5, 0.9, 0.55), cut=True, rounding=0.0),
    ]  # fmt: skip
    spots = [(y, z) for z, ys in ((-0.14, (-0.36, -0.12, 0.12, 0.36)), (-0.34, (-0.24, 0.0, 0.24))) for y in ys]
    parts += [ball(dark, (s * (thick + 0.012), y, z), (0.025, 0.032, 0.055)) for s in (1, -1) for y, z in spots]
    return parts, Words(
        ("watermelon slice",),
        None,
        sized(thick, 0.13, 0.16, "thin", "thick"),
        [(flesh, "flesh"), (rind, "rind"), (dark, "seeds")],
        pal.typical,
    )


def pineapple(rng: random.Random) -> Built:
    """An upright egg with a checked skin and a crown of pointed leaves."""
    pal = Palette(rng, glossy=0.1)
    skin = pal.pick("yellow", "orange", "gold")
    second, leaf = pal.pick("brown", unlike=(skin,)), pal.fixed("green")
    h, wide = rng.uniform(0.44, 0.56), rng.uniform(0.32, 0.38)
    parts = [ball(pal.patterned(skin, "checks", 6.0, second), (0, 0, h), (wide, wide, h))]
    for count, radius, height, lean in ((6, 0.12, 0.26, 38), (5, 0.07, 0.36, 18)):
        for x, y, a in around(count, radius, 30 * (count - 5)):
            turn = rotation_from_euler(0, lean, a)
            parts.append(stump(leaf, (1.8 * x, 1.8 * y, 2 * h + 0.9 * height), 0.085, height, 0.1, rotation=turn))
    parts.append(stump(leaf, (0, 0, 2 * h + 0.34), 0.085, 0.4, 0.1))
    return parts, Words(
        ("pineapple",), skin, sized(h / wide, 1.32, 1.55, "round", "tall"), [(leaf, "leaves|crown")], pal.typical
    )


def cherries(rng: random.Random) -> Built:
    """Two round cherries on bent stalks that join under a leaf."""
    pal = Palette(rng, glossy=0.6)
    skin = pal.pick("red")
    stalk, leaf = pal.fixed("green", "brown"), pal.fixed("green")
    r, apart = rng.uniform(0.27, 0.32), rng.uniform(0.32, 0.38)
    parts = [
        *pair(ball, skin, (0, apart, 0.3), (r, r, 0.93 * r)),
        *[rod(stalk, (0, s * apart, 0.5), (0, s * 0.2, 0.92), 0.04) for s in (1, -1)],
        *[rod(stalk, (0, s * 0.2, 0.92), (0, 0, 1.2), 0.04) for s in (1, -1)],
        ball(leaf, (0, 0.22, 1.2), (0.13, 0.27, 0.05), rotation=rotation_from_euler(-12, 0, 0)),
        ball(stalk, (0, 0, 1.2), 0.06),
    ]  # fmt: skip
    return parts, Words(("cherries",), skin, pal.adjectives, [(leaf, "leaf"), (stalk, "stems")], pal.typical)


def grapes(rng: random.Random) -> Built:
    """A hanging bunch of berries on a stalk, with a leaf."""
    pal = Palette(rng, glossy=0.4)
    skin = pal.pick("purple", "purple", "green")
    stalk, leaf = pal.fixed("brown"), pal.fixed("green")
    r, parts = rng.uniform(0.155, 0.175), []
    for row, (count, radius) in enumerate(((1, 0.0), (3, 0.14), (5, 0.22), (6, 0.27), (4, 0.17))):
        parts += [ball(skin, (x, y, 0.2 * row), r) for x, y, _ in around(count, radius, 35 * row)]
    parts += [
        rod(stalk, (0, 0, 0.85), (0.03, 0, 1.16), 0.045),
        ball(leaf, (0.05, 0.17, 1.0), (0.16, 0.2, 0.045), rotation=rotation_from_euler(15, 15, 0)),
    ]
    return parts, Words(("grapes",), skin, pal.adjectives, [(leaf, "leaf")], pal.typical)


def carrot(rng: random.Random) -> Built:
    """A cone, point down, with a tuft of leaves."""
    pal = Palette(rng, glossy=0.1)
    root = pal.pick("orange")
    leaf, h = pal.fixed("green"), rng.uniform(0.5, 0.75)
    parts = [stump(root, (0, 0, 0), 0.05, h, rng.uniform(4.4, 5.2)), ball(root, (0, 0, h - 0.02), (0.24, 0.24, 0.12))]
    for x, y in ((0, 0), (0.16, 0), (-0.16, 0), (0, 0.16), (0, -0.16)):
        parts.append(rod(leaf, (0.3 * x, 0.3 * y, h), (x * 1.3, y * 1.3, h + 0.42 - abs(x + y)), 0.07))
    return parts, Words(("carrot",), root, sized(h, 0.56, 0.68, "short", "long"), [(leaf, "leaves|top")], pal.typical)


def pumpkin(rng: random.Random) -> Built:
    """Eight ribs around a middle, with a stalk, at times with a carved face."""
    pal = Palette(rng, glossy=0.1)
    skin = pal.pick("orange")
    stalk, flat, n = pal.pick("green", "brown", unlike=(skin,)), rng.uniform(0.3, 0.42), 8
    parts = []
    for k in range(n):
        a = 2 * math.pi * k / n
        spot = (0.28 * math.cos(a), 0.28 * math.sin(a), 0.0)
        parts.append(ball(skin, spot, (0.27, 0.19, flat), rotation=rotation_from_euler(0, 0, math.degrees(a))))
    parts.append(stump(stalk, (0, 0, flat + 0.03), 0.09, 0.14, 0.75))
    face = pal.fixed("black")
    if rng.random() < 0.35:
        parts += [
            *pair(ball, face, (0.48, 0.17, 0.1), (0.07, 0.08, 0.09)),
            box(face, (0.5, 0, -0.12), (0.06, 0.19, 0.05)),
        ]
        nouns: tuple[str, ...] = ("halloween pumpkin",)
    else:
        nouns = ("pumpkin",)
    return parts, Words(nouns, skin, sized(flat, 0.33, 0.39, "flat", "round"), [(stalk, "stem")], pal.typical)
