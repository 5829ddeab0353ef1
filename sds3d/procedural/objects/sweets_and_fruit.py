"""More fruit, sweets and snacks."""

from __future__ import annotations

import math
import random

from sds3d.procedural.objects.shapes import (
    ALONG_X,
    around,
    ball,
    box,
    melted,
    pair,
    ring,
    rod,
    stump,
    wedge,
)  # fmt: skip
from sds3d.procedural.objects.vocabulary import Paint, Palette, Words, darker, make_paint, sized
from sds3d.procedural.parts import Part, rotation_from_euler

Built = tuple[list[Part], Words]


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
        stump(rind, (0, 0, 0), 0.75, thick, rotation=ALONG_X, rounding=0.02), stump(white, (0, 0, 0), 0.68, thick + 0.008, rotation=ALONG_X, rounding=0.0),
        stump(flesh, (0, 0, 0), 0.63, thick + 0.016, rotation=ALONG_X, rounding=0.0), box(flesh, (0, 0, 0.55), (0.5, 0.9, 0.55), cut=True, rounding=0.0),
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
        *pair(ball, skin, (0, apart, 0.3), (r, r, 0.93 * r)), *[rod(stalk, (0, s * apart, 0.5), (0, s * 0.2, 0.92), 0.04) for s in (1, -1)],
        *[rod(stalk, (0, s * 0.2, 0.92), (0, 0, 1.2), 0.04) for s in (1, -1)], ball(leaf, (0, 0.22, 1.2), (0.13, 0.27, 0.05), rotation=rotation_from_euler(-12, 0, 0)), ball(stalk, (0, 0, 1.2), 0.06),
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


def cheese(rng: random.Random) -> Built:
    """A wedge with round holes in its sides."""
    pal = Palette(rng, glossy=0.1)
    paste = pal.pick("yellow", "yellow", "orange")
    hole, rind = darker(paste), pal.pick("red", "orange", "brown", unlike=(paste,))
    long, high = rng.uniform(0.6, 0.75), rng.uniform(0.24, 0.34)
    parts = [
        wedge(paste, (0, 0, high), (high, 0.5, long), 1.0, 0.02, rotation=rotation_from_euler(0, 90, 0)), box(rind, (-long - 0.02, 0, high), (0.04, 0.5, high + 0.005)),
    ]  # fmt: skip
    places = [
        (-0.4, 0.46, 0.6),
        (0.0, 0.25, 1.3),
        (-0.3, 0.3, 1.75),
        (-0.05, -0.27, 0.5),
        (-0.42, -0.44, 1.2),
        (-0.34, -0.05, 2.0),
        (0.12, 0.02, 2.0),
    ]
    parts += [ball(hole, (x, y, z * high), 0.09 + 0.03 * (k % 3), cut=True) for k, (x, y, z) in enumerate(places)]
    return parts, Words(
        ("cheese wedge",),
        paste,
        sized(high, 0.27, 0.31, "flat", "thick"),
        [("round", "holes"), (rind, "rind")],
        pal.typical,
    )


def lollipop(rng: random.Random) -> Built:
    """A round sweet with a swirl on a stick."""
    pal = Palette(rng, glossy=0.6)
    sugar = pal.pick("red", "pink", "yellow", "purple")
    swirl = pal.pick("white", "yellow", unlike=(sugar,))
    stick, z, thick = pal.fixed("white"), rng.uniform(0.9, 1.15), rng.uniform(0.1, 0.16)
    turn = rotation_from_euler(0, 90, 0)
    parts = [
        stump(sugar, (0, 0, z), 0.45, thick, rotation=ALONG_X, rounding=0.08),
        rod(stick, (0, 0, 0.05), (0, 0, z - 0.3), 0.05),
    ]
    for s in (1, -1):
        parts += [ring(swirl, (s * (thick - 0.02), 0, z), r, 0.042, rotation=turn) for r in (0.16, 0.33)]
    return parts, Words(
        ("lollipop",),
        sugar,
        pal.adjectives + sized(z, 0.97, 1.08, "short", "tall"),
        [(swirl, "swirl|rings"), (stick, "stick")],
        pal.typical,
    )


def hot_dog(rng: random.Random) -> Built:
    """A sausage between two halves of a bun with a wave of mustard or ketchup."""
    pal = Palette(rng, glossy=0.2)
    bun = Paint("bun", ("golden brown", "brown"), (0.85, 0.60, 0.30), shine=pal.shine)
    meat, sauce = (
        make_paint(rng, "red")._replace(color=(0.68, 0.27, 0.16), words=("reddish brown",), name="brown"),
        pal.fixed("yellow", "red"),
    )
    n = rng.uniform(0.55, 0.72)
    parts = [
        *[rod(bun, (-n, s * 0.2, 0.18), (n, s * 0.2, 0.18), 0.19) for s in (1, -1)], rod(bun, (-n, 0, 0.12), (n, 0, 0.12), 0.13), rod(meat, (-n - 0.12, 0, 0.33), (n + 0.12, 0, 0.33), 0.155),
    ]  # fmt: skip
    waves = 8
    xs = [-n + 2 * n * k / waves for k in range(waves + 1)]
    points = [(x, 0.055 * (-1) ** k, 0.485) for k, x in enumerate(xs)]
    parts += [rod(sauce, a, b, 0.04) for a, b in zip(points[:-1], points[1:], strict=True)]
    return parts, Words(
        ("hot dog",), None, sized(n, 0.6, 0.67, "short", "long"), [(sauce, "sauce"), ("", "sausage")], True
    )


def pancakes(rng: random.Random) -> Built:
    """A stack of pancakes on a plate with syrup and a piece of butter."""
    pal = Palette(rng, glossy=0.2)
    plate = pal.pick("white", "blue")
    dough = Paint("dough", ("golden brown",), (0.86, 0.62, 0.30), shine=0.0)
    edge = Paint("dough", ("golden brown",), (0.95, 0.83, 0.56), shine=0.0)
    syrup, butter, n = pal.fixed("brown"), pal.fixed("yellow"), rng.choice((3, 4, 5))
    berries = rng.random() < 0.4
    parts = [stump(plate, (0, 0, 0.03), 0.5, 0.04, 1.35)]
    for k in range(n):
        shift = (0.025 * math.cos(2.1 * k), 0.025 * math.sin(2.1 * k))
        z = 0.12 + 0.125 * k
        parts += [
            stump(edge, (*shift, z), 0.49, 0.058, rounding=0.04),
            stump(dough, (*shift, z + 0.035), 0.465, 0.035, rounding=0.02),
        ]
    top = 0.12 + 0.125 * (n - 1) + 0.07
    parts += [
        ball(syrup, (0, 0, top), (0.33, 0.3, 0.03)),
        *[
            rod(syrup, (0.3 * c, 0.3 * s, top), (0.5 * c, 0.5 * s, top - 0.04), 0.05)
            for c, s in ((1, 0), (-0.5, 0.85), (-0.4, -0.9))
        ],
    ]
    parts += [
        rod(syrup, (0.51, 0, top - 0.03), (0.52, 0, top - 0.22), 0.05),
        box(butter, (0, 0, top + 0.06), (0.1, 0.1, 0.05), rounding=0.02),
    ]
    details: list[tuple[Paint | str, str]] = [("", "syrup"), ("", "butter"), (plate, "plate")]
    if berries:
        berry = pal.fixed("red", "blue")
        parts += [ball(berry, (0.2 * c, 0.2 * s, top + 0.05), 0.075) for c, s in ((0.8, 0.8), (-1, 0.5), (0.2, -1.0))]
        details.append((berry, "berries"))
    return parts, Words(("pancakes",), None, [], details, True)


def sushi(rng: random.Random) -> Built:
    """A pillow of rice under a striped slice of fish, with a band of seaweed."""
    pal = Palette(rng, glossy=0.3)
    fish = pal.pick("orange", "orange", "red", "pink")
    rice, weed, white = pal.fixed("white"), pal.fixed("black"), pal.fixed("white")
    n, banded = rng.uniform(0.5, 0.65), rng.random() < 0.6
    coat = pal.patterned(fish, "stripes", 3.2, white) if fish.name != "white" else fish
    parts = [
        *melted(0.06, [rod(rice, (-n + 0.2, y, 0.2), (n - 0.2, y, 0.2), 0.21) for y in (0.12, -0.12)]),
        *[rod(coat, (-n + 0.1, y, 0.4), (n - 0.1, y, 0.4), 0.14) for y in (0.15, 0.0, -0.15)],
    ]  # fmt: skip
    details: list[tuple[Paint | str, str]] = [(fish, "fish|topping"), (rice, "rice")]
    if banded:
        parts.append(box(weed, (0, 0, 0.28), (0.12, 0.36, 0.29), rounding=0.06))
        details.append((weed, "seaweed"))
    return parts, Words(("sushi",), None, sized(n, 0.55, 0.61, "short", "long"), details, pal.typical)


def pizza(rng: random.Random) -> Built:
    """A slice: a crust, melted cheese and rounds of salami, lying flat."""
    pal = Palette(rng, glossy=0.1)
    crust = Paint("crust", ("golden brown",), (0.80, 0.55, 0.27), shine=0.0)
    top, salami = pal.fixed("yellow"), pal.fixed("red")
    green, wide = pal.fixed("green"), rng.uniform(0.4, 0.5)
    turn, olives = rotation_from_euler(0, 90, 0), rng.random() < 0.5
    parts = [
        wedge(crust, (0, 0, 0), (0.06, wide, 0.7), 1.0, 0.02, rotation=turn), wedge(top, (0.02, 0, 0.05), (0.05, 0.93 * wide, 0.66), 1.0, 0.02, rotation=turn), rod(crust, (-0.72, -0.9 * wide, 0.03), (-0.72, 0.9 * wide, 0.03), 0.115),
        *[stump(salami, (x, y * wide, 0.11), 0.125, 0.025) for x, y in ((-0.4, 0.42), (-0.38, -0.4), (-0.02, 0.08), (0.28, -0.03))],
    ]  # fmt: skip
    if olives:
        parts += [ring(green, (x, y * wide, 0.11), 0.05, 0.03) for x, y in ((-0.5, 0.0), (-0.14, -0.36), (-0.12, 0.42))]
    details: list[tuple[Paint | str, str]] = [("melted", "cheese"), (salami, "salami slices")] + (
        [(green, "olives")] if olives else []
    )
    return parts, Words(("pizza slice",), None, sized(wide, 0.43, 0.47, "thin", "wide"), details, True)
