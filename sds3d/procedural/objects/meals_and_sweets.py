"""Meals, snacks and sweets."""

from __future__ import annotations

import math
import random

from sds3d.procedural.objects.shapes import ALONG_X, Built, ball, box, melted, ring, rod, stump, wedge
from sds3d.procedural.objects.vocabulary import Paint, Palette, Words, darker, make_paint, sized
from sds3d.procedural.parts import rotation_from_euler


def hamburger(rng: random.Random) -> Built:
    """Bun, patty, cheese, lettuce, tomato, and the top of the bun with seeds."""
    pal = Palette(rng, glossy=0.2)
    bun = Paint("bun", ("golden brown", "brown"), (0.85, 0.55, 0.25), (0.98, 0.92, 0.75), shine=pal.shine)
    seeded = bun._replace(pattern="dots", pattern_scale=6.5) if rng.random() < 0.5 else bun
    patty, cheese, leaf, tomato = (make_paint(rng, c) for c in ("brown", "yellow", "green", "red"))
    r, z = 0.55, 0.2
    parts, details = [stump(bun, (0, 0, 0.1), r - 0.02, 0.11, rounding=0.06)], []
    fillings = [(leaf, "lettuce", 1.07), (patty, "patty", 1.0), (cheese, "cheese", 1.02), (tomato, "tomatoes", 0.97)]
    for paint, name, wide in fillings:
        if name in ("patty", "lettuce") or rng.random() < 0.7:
            half = 0.085 if name == "patty" else 0.05
            if name == "cheese":
                parts.append(box(paint, (0, 0, z + half), (0.84 * r, 0.84 * r, half)))
            else:
                parts.append(stump(paint, (0, 0, z + half), wide * r, half, rounding=0.03))
            details.append((paint, name))
            z += 2 * half - 0.01
    parts += [ball(seeded, (0, 0, z), (r, r, rng.uniform(0.28, 0.36)))]
    words = Words(
        ("hamburger", "hamburger", "cheeseburger" if any(n == "cheese" for _, n in details) else "hamburger"),
        None,
        [],
        details,
        True,
    )
    return parts, words


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
        *[rod(bun, (-n, s * 0.2, 0.18), (n, s * 0.2, 0.18), 0.19) for s in (1, -1)],
        rod(bun, (-n, 0, 0.12), (n, 0, 0.12), 0.13), rod(meat, (-n - 0.12, 0, 0.33), (n + 0.12, 0, 0.33), 0.155),
    ]  # fmt: skip
    waves = 8
    xs = [-n + 2 * n * k / waves for k in range(waves + 1)]
    points = [(x, 0.055 * (-1) ** k, 0.485) for k, x in enumerate(xs)]
    parts += [rod(sauce, a, b, 0.04) for a, b in zip(points[:-1], points[1:], strict=True)]
    return parts, Words(
        ("hot dog",), None, sized(n, 0.6, 0.67, "short", "long"), [(sauce, "sauce"), ("", "sausage")], True
    )


def pizza(rng: random.Random) -> Built:
    """A slice: a crust, melted cheese and rounds of salami, lying flat."""
    pal = Palette(rng, glossy=0.1)
    crust = Paint("crust", ("golden brown",), (0.80, 0.55, 0.27), shine=0.0)
    top, salami = pal.fixed("yellow"), pal.fixed("red")
    green, wide = pal.fixed("green"), rng.uniform(0.4, 0.5)
    turn, olives = rotation_from_euler(0, 90, 0), rng.random() < 0.5
    parts = [
        wedge(crust, (0, 0, 0), (0.06, wide, 0.7), 1.0, 0.02, rotation=turn),
        wedge(top, (0.02, 0, 0.05), (0.05, 0.93 * wide, 0.66), 1.0, 0.02, rotation=turn),
        rod(crust, (-0.72, -0.9 * wide, 0.03), (-0.72, 0.9 * wide, 0.03), 0.115),
        *[stump(salami, (x, y * wide, 0.11), 0.125, 0.025) for x, y in ((-0.4, 0.42), (-0.38, -0.4), (-0.02, 0.08), (0.28, -0.03))],
    ]  # fmt: skip
    if olives:
        parts += [ring(green, (x, y * wide, 0.11), 0.05, 0.03) for x, y in ((-0.5, 0.0), (-0.14, -0.36), (-0.12, 0.42))]
    details: list[tuple[Paint | str, str]] = [("melted", "cheese"), (salami, "salami slices")]
    details += [(green, "olives")] * olives
    return parts, Words(("pizza slice",), None, sized(wide, 0.43, 0.47, "thin", "wide"), details, True)


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


def cheese(rng: random.Random) -> Built:
    """A wedge with round holes in its sides."""
    pal = Palette(rng, glossy=0.1)
    paste = pal.pick("yellow", "yellow", "orange")
    hole, rind = darker(paste), pal.pick("red", "orange", "brown", unlike=(paste,))
    long, high = rng.uniform(0.6, 0.75), rng.uniform(0.24, 0.34)
    parts = [
        wedge(paste, (0, 0, high), (high, 0.5, long), 1.0, 0.02, rotation=rotation_from_euler(0, 90, 0)),
        box(rind, (-long - 0.02, 0, high), (0.04, 0.5, high + 0.005)),
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


def donut(rng: random.Random) -> Built:
    """A ring of dough with icing and sprinkles."""
    pal = Palette(rng, glossy=0.3)
    dough, tube = pal.fixed("beige"), rng.uniform(0.2, 0.26)
    icing = pal.pick("pink", "brown", "white", unlike=(dough,))
    sprinkled = rng.random() < 0.5
    parts = [ring(dough, (0, 0, 0), 0.5, tube), ring(icing, (0, 0, 0.06), 0.5, tube - 0.005)]
    details: list[tuple[Paint | str, str]] = [(icing, "icing|frosting")]
    if sprinkled:
        details.append(("colorful", "sprinkles"))
        for k in range(16):
            a, r = k * 2 * math.pi / 16, 0.5 + (-0.1, 0.1, 0.0)[k % 3]
            z = 0.06 + math.sqrt(tube * tube - (r - 0.5) ** 2)
            color = make_paint(rng, ("red", "yellow", "blue", "green")[k % 4])
            t = a + k * 1.3
            dx, dy = 0.05 * math.cos(t), 0.05 * math.sin(t)
            x, y = r * math.cos(a), r * math.sin(a)
            parts.append(rod(color, (x - dx, y - dy, z), (x + dx, y + dy, z), 0.032))
    return parts, Words(("donut",), icing if rng.random() < 0.3 else None, pal.adjectives, details, pal.typical)


def cupcake(rng: random.Random) -> Built:
    """A striped paper cup, a swirl of frosting and a cherry."""
    pal = Palette(rng, glossy=0.1)
    frosting = pal.pick("pink", "white", "brown")
    paper = pal.pick("blue", "red", "brown", unlike=(frosting,))
    cherry = pal.fixed("red")
    parts = [stump(paper, (0, 0, 0.2), 0.32, 0.22, 1.35)]
    parts += [ball(frosting, (0, 0, 0.46 + 0.17 * k), (0.47 - 0.12 * k, 0.47 - 0.12 * k, 0.16)) for k in range(3)]
    details = [(frosting, "frosting"), (paper, "wrapper")]
    if frosting.name != "red":
        parts.append(ball(cherry, (0, 0, 1.0), 0.12))
        details.append((cherry, "cherry"))
    return parts, Words(("cupcake",), None, [], details, pal.typical)


def cake(rng: random.Random) -> Built:
    """One to three round tiers with icing, candles or cherries, on a plate."""
    pal = Palette(rng, glossy=0.1)
    base = pal.pick("pink", "white", "brown")
    icing = pal.pick("white", "pink", "red", unlike=(base,))
    n, h = rng.choice((1, 2, 2, 3)), rng.uniform(0.14, 0.2)
    parts = [stump(pal.fixed("white", "silver"), (0, 0, -0.03), 0.62, 0.05)]
    for k in range(n):
        r, z = 0.52 - 0.15 * k, (2 * k + 1) * h
        parts += [stump(base, (0, 0, z), r, h), ring(icing, (0, 0, z + h - 0.03), r - 0.02, 0.055)]
    r, z, candles = 0.52 - 0.15 * (n - 1), 2 * n * h, rng.random() < 0.6
    topping = pal.fixed("red", "blue") if candles else pal.fixed("red")
    flame = pal.fixed("yellow")
    for k in range(3 if n > 2 else 5):
        a = 2 * math.pi * k / (3 if n > 2 else 5)
        x, y = 0.6 * r * math.cos(a), 0.6 * r * math.sin(a)
        if candles:
            parts += [
                rod(topping, (x, y, z), (x, y, z + 0.24), 0.045),
                ball(flame, (x, y, z + 0.32), (0.05, 0.05, 0.08)),
            ]
        else:
            parts.append(ball(topping, (x, y, z + 0.04), 0.09))
    details = [(icing, "icing"), (topping, "candles" if candles else "cherries")]
    return parts, Words(
        ("cake", *["birthday cake"] * candles, *["layer cake"] * (n > 1)),
        base,
        sized(n, 2, 2, "round", "tall"),
        details,
        pal.typical,
    )


def ice_cream(rng: random.Random) -> Built:
    """Scoops on a wafer cone."""
    pal = Palette(rng, glossy=0.1)
    scoop = pal.pick("pink", "white", "brown")
    wafer = make_paint(rng, "beige")._replace(pattern="checks", pattern_scale=7.0)
    wafer = wafer._replace(color=(0.86, 0.62, 0.34), color2=(0.74, 0.48, 0.22))
    n = rng.choice((1, 1, 2, 3))
    parts = [stump(wafer, (0, 0, 0), 0.03, 0.5, 11.0), ring(scoop, (0, 0, 0.52), 0.27, 0.08)]
    details = [(scoop, "scoop" if n == 1 else "bottom scoop")]
    last, z = scoop, 0.66
    for k in range(n):
        if k:
            last = pal.pick("white", "brown", "pink", unlike=(last,))
            z += 0.38
            details.append((last, "top scoop" if k == n - 1 else "middle scoop"))
        parts.append(ball(last, (0, 0, z), 0.34 - 0.03 * k))
    if rng.random() < 0.4:
        cherry = pal.fixed("red")
        parts.append(ball(cherry, (0, 0, z + 0.36), 0.1))
        details.append((cherry, "cherry"))
    main = scoop if n == 1 else None
    return parts, Words(("ice cream cone",), main, [], details, pal.typical)


def lollipop(rng: random.Random) -> Built:
    """A round candy with a swirl on a stick."""
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
