"""Plants, fruit and food."""

from __future__ import annotations

import math
import random

import numpy as np

from sds3d.procedural.objects.shapes import arc, around, ball, box, pair, ring, rod, stump
from sds3d.procedural.objects.vocabulary import Paint, Palette, Words, darker, make_paint, sized
from sds3d.procedural.parts import Part, rotation_from_euler

Built = tuple[list[Part], Words]


def mushroom(rng: random.Random) -> Built:
    """A stem with a flat cap, often dotted, and pale gills below it."""
    pal = Palette(rng, glossy=0.15)
    cap = pal.pick("red", "red", "brown")
    dots = pal.pick("white", unlike=(cap,))
    stem = pal.pick("white", "beige", unlike=(cap,)) if rng.random() < 0.6 else pal.fixed("white", "beige")
    h, r, tall, dotted = rng.uniform(0.65, 1.0), rng.uniform(0.42, 0.6), rng.uniform(0.22, 0.36), rng.random() < 0.7
    top = pal.patterned(cap, "dots", rng.uniform(2.6, 4.0), dots) if dotted and cap.name != stem.name else cap
    dotted = top is not cap
    parts = [
        stump(stem, (0, 0, h / 2), 0.23, h / 2, 0.72), ball(stem, (0, 0, 0.1), (0.27, 0.27, 0.14)),
        ball(top, (0, 0, h), (r, r, tall)), ball(stem, (0, 0, h - 0.55 * tall), (0.9 * r, 0.9 * r, 0.5 * tall)),
    ]  # fmt: skip
    if rng.random() < 0.3:
        parts.append(ring(stem, (0, 0, 0.62 * h), 0.2, 0.045))
    details = [(top, "cap|cap|top|head"), (stem, "stem"), *([(dots, "dots|spots")] if dotted else [])]
    return parts, Words(("mushroom",), cap, sized(h, 0.75, 0.9, "short", "tall"), details, pal.typical)


def tree(rng: random.Random) -> Built:
    """A trunk with a crown of several balls, at times with fruit."""
    pal = Palette(rng, glossy=0)
    trunk, leaf, h = pal.fixed("brown"), pal.pick("green", "green", "orange"), rng.uniform(0.4, 0.65)
    parts = [
        stump(trunk, (0, 0, h / 2), 0.14, h / 2 + 0.05, 0.75),
        ball(leaf, (0, 0, h + 0.35), rng.uniform(0.38, 0.45)),
    ]
    start = rng.uniform(0, 6.28)
    for k in range(5):
        a = start + k * 1.257
        spot = (0.3 * math.cos(a), 0.3 * math.sin(a), h + rng.uniform(0.18, 0.4))
        parts.append(ball(leaf, spot, rng.uniform(0.24, 0.31)))
    details = [(trunk, "trunk"), (leaf, "leaves")]
    nouns: tuple[str, ...] = ("tree",)
    if rng.random() < 0.35:
        fruit = pal.pick("red", unlike=(leaf,))
        for k in range(9):
            a, up = k * 2.4, 0.55 * (1 - 2 * (k + 0.5) / 9)
            s = math.sqrt(1 - up * up) * 0.52
            parts.append(ball(fruit, (s * math.cos(a), s * math.sin(a), h + 0.33 + up * 0.55), 0.08))
        details.append((fruit, "fruits"))
        nouns = ("tree", "fruit tree")
    return parts, Words(nouns, leaf, sized(h, 0.46, 0.58, "short", "tall"), details, pal.typical)


def pine_tree(rng: random.Random) -> Built:
    """A trunk with three or four stacked cones."""
    pal = Palette(rng, glossy=0)
    trunk, leaf, n = pal.fixed("brown"), pal.pick("green"), rng.choice((3, 3, 4))
    wide = rng.uniform(0.42, 0.58)
    parts = [stump(trunk, (0, 0, 0.15), 0.12, 0.2)]
    for k in range(n):
        r = wide * (1 - 0.24 * k)
        parts.append(stump(leaf, (0, 0, 0.5 + 0.3 * k), r, 0.26, 0.12))
    details = [(trunk, "trunk")]
    nouns: tuple[str, ...] = ("pine tree",)
    if rng.random() < 0.35:
        star = pal.fixed("gold", "yellow")
        balls = pal.pick("red", unlike=(leaf,))
        parts.append(ball(star, (0, 0, 0.5 + 0.3 * (n - 1) + 0.28), 0.1))
        for k in range(9):
            level, a = k % 3, k * 2.2
            r = wide * (1 - 0.24 * level) * 0.93
            parts.append(ball(balls, (r * math.cos(a), r * math.sin(a), 0.3 + 0.3 * level), 0.075))
        details += [(balls, "balls|ornaments")]
        nouns = ("christmas tree", "christmas tree", "pine tree")
    return parts, Words(nouns, leaf, sized(n / wide, 5.6, 7.2, "wide", "tall"), details, pal.typical)


def cactus(rng: random.Random) -> Built:
    """A column with bent arms in a pot."""
    pal = Palette(rng, glossy=0)
    green = pal.pick("green")
    pot = pal.pick("brown", "orange", unlike=(green,))
    h = rng.uniform(0.9, 1.25)
    parts = [
        stump(pot, (0, 0, 0.17), 0.25, 0.18, 1.3), ring(pot, (0, 0, 0.34), 0.32, 0.05), stump(pal.fixed("brown"), (0, 0, 0.3), 0.3, 0.05),
        rod(green, (0, 0, 0.3), (0, 0, h), 0.19),
    ]  # fmt: skip
    for s in (1, -1)[: rng.choice((1, 2, 2))]:
        z, top = rng.uniform(0.58, 0.7), rng.uniform(0.15, 0.35)
        parts += [
            rod(green, (0, 0, z), (0, s * 0.36, z), 0.105),
            rod(green, (0, s * 0.36, z), (0, s * 0.36, z + top), 0.105),
        ]
    details = [(pot, "pot")]
    if rng.random() < 0.5:
        flower = pal.pick("pink", "red", unlike=(green,))
        parts += [ball(flower, (0, 0, h + 0.2), (0.12, 0.12, 0.08))]
        details.append((flower, "flower"))
    return parts, Words(("cactus",), green, sized(h, 1.0, 1.15, "small", "tall"), details, pal.typical)


def flower(rng: random.Random) -> Built:
    """A bloom of petals around a centre that faces up and to the front, on a stem in a pot."""
    pal = Palette(rng, glossy=0)
    petal = pal.pick("red", "pink", "yellow", "white")
    middle = pal.pick("yellow", "brown", unlike=(petal,))
    green, pot = pal.fixed("green"), pal.pick("brown", "orange", "blue", unlike=(petal,))
    h, n = rng.uniform(0.85, 1.1), rng.choice((5, 6, 7))
    parts = [
        stump(pot, (0, 0, 0.17), 0.22, 0.18, 1.35), ring(pot, (0, 0, 0.34), 0.29, 0.05), stump(pal.fixed("brown"), (0, 0, 0.3), 0.27, 0.05),
        rod(green, (0, 0, 0.3), (0, 0, h), 0.05), *[ball(green, (0, s * 0.16, 0.55), (0.09, 0.17, 0.05), rotation=rotation_from_euler(s * 30, 0, 0)) for s in (1, -1)],
    ]  # fmt: skip
    tilt = rotation_from_euler(0, 55, 0)
    for k in range(n):
        a = 2 * math.pi * k / n
        spot = tilt @ np.array([0.23 * math.cos(a), 0.23 * math.sin(a), 0.0])
        turn = tilt @ rotation_from_euler(0, 0, math.degrees(a))
        parts.append(
            ball(petal, (float(spot[0]), float(spot[1]), h + float(spot[2])), (0.18, 0.8 / n, 0.06), rotation=turn)
        )
    parts.append(ball(middle, (0.04, 0, h + 0.03), 0.13))
    details = [(petal, "petals"), (middle, "center"), (pot, "pot")]
    return parts, Words(("flower",), petal if rng.random() < 0.5 else None, [], details, pal.typical)


def apple(rng: random.Random) -> Built:
    """A round fruit with a dimple, a stalk and a leaf."""
    pal = Palette(rng, glossy=0.5)
    skin, stalk, leaf = pal.pick("red", "green"), pal.fixed("brown"), pal.fixed("green")
    tall = rng.uniform(0.41, 0.46)
    parts = [
        rod(stalk, (0, 0, 0.2), (0.03, 0, 0.54), 0.045), ball(leaf, (0.02, 0.16, 0.5), (0.1, 0.18, 0.05), rotation=rotation_from_euler(20, 0, 0)),
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
        ball(skin, (0, 0, 0), (0.4, 0.4, 0.38)), stump(skin, (0, 0, 0.12 + h / 2), 0.36, h / 2, 0.62, rounding=0.03), ball(skin, (0, 0, 0.1 + h), (0.225, 0.225, 0.2)),
        rod(stalk, (0, 0, h + 0.2), (0.03, 0, h + 0.46), 0.045), ball(leaf, (0.02, 0.14, h + 0.4), (0.09, 0.16, 0.05)),
    ]  # fmt: skip
    return parts, Words(("pear",), skin, pal.adjectives, [(leaf, "leaf"), (stalk, "stem")], pal.typical)


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


def donut(rng: random.Random) -> Built:
    """A ring of dough with icing and sprinkles."""
    pal = Palette(rng, glossy=0.3)
    dough, tube = pal.fixed("beige"), rng.uniform(0.2, 0.26)
    icing = pal.pick("pink", "brown", "white", unlike=(dough,))
    sprinkled = rng.random() < 0.5
    parts = [ring(dough, (0, 0, 0), 0.5, tube), ring(icing, (0, 0, 0.06), 0.5, tube - 0.005)]
    details = [(icing, "icing|frosting")]
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


def palm_tree(rng: random.Random) -> Built:
    """A leaning, ringed trunk, fronds that hang over, and coconuts."""
    pal = Palette(rng, glossy=0)
    leaf, trunk = pal.pick("green"), pal.fixed("brown")
    bark, n, lean = (
        trunk._replace(pattern="stripes", pattern_scale=5.0, color2=darker(trunk).color),
        rng.choice((6, 7)),
        rng.uniform(0.05, 0.25),
    )
    top, nuts = rng.uniform(0.95, 1.2), rng.random() < 0.6
    parts = [rod(bark, (0, 0, 0.05), (lean, 0, top), 0.14, taper=0.65), ball(leaf, (lean, 0, top), 0.14)]
    for x, y, a in around(n, 0.3):
        parts.append(
            arc(
                leaf,
                (lean + x, y, top - 0.18),
                0.34,
                62,
                0.1,
                taper=0.45,
                rotation=rotation_from_euler(0, 0, a),
                blend=0.03,
            )
        )
    details = [(trunk, "trunk"), (leaf, "leaves")]
    if nuts:
        nut = pal.fixed("brown")
        parts += [ball(nut, (lean + x, y, top - 0.14), 0.1) for x, y, _ in around(3, 0.14, 20)]
        details.append((nut, "coconuts"))
    return parts, Words(("palm tree",), leaf, sized(top, 1.02, 1.14, "short", "tall"), details, pal.typical)


def tulip(rng: random.Random) -> Built:
    """A closed cup of petals on a stem with two long leaves."""
    pal = Palette(rng, glossy=0.1)
    petal = pal.pick("red", "pink", "yellow", "purple")
    green, h = pal.fixed("green"), rng.uniform(0.4, 0.55)
    z = 2 * h + 0.16
    parts = [rod(green, (0, 0, 0), (0, 0, 2 * h), 0.05)]
    for k, (x, y, a) in enumerate(around(6, 0.1)):
        parts.append(ball(petal, (x, y, z + 0.03 * (k % 2)), (0.1, 0.16, 0.27), rotation=rotation_from_euler(0, 12, a)))
    parts += [
        ball(green, (0, s * 0.16, 0.85 * h), (0.08, 0.05, 0.8 * h), rotation=rotation_from_euler(-s * 18, 0, 0))
        for s in (1, -1)
    ]
    return parts, Words(("tulip",), petal, sized(h, 0.44, 0.51, "short", "tall"), [(green, "stem|leaves")], pal.typical)


def sunflower(rng: random.Random) -> Built:
    """A wide head of many narrow petals around a dark centre, on a tall stem with leaves."""
    pal = Palette(rng, glossy=0)
    petal = pal.pick("yellow", "yellow", "orange")
    middle = pal.pick("brown", "black", unlike=(petal,))
    green, h, n = pal.fixed("green"), rng.uniform(0.9, 1.15), 13
    tilt = rotation_from_euler(0, 62, 0)
    parts = [rod(green, (0, 0, 0), (-0.02, 0, h), 0.055), stump(green, (-0.03, 0, h - 0.02), 0.24, 0.03, rotation=tilt)]
    for x, y, a in around(n, 0.36):
        spot = tilt @ np.array([x, y, 0.0])
        turn = tilt @ rotation_from_euler(0, 0, a)
        parts.append(
            ball(petal, (float(spot[0]), float(spot[1]), h + float(spot[2])), (0.2, 0.1, 0.045), rotation=turn)
        )
    parts.append(stump(middle, (0.03, 0, h + 0.015), 0.24, 0.06, rotation=tilt, rounding=0.04))
    parts += [
        ball(green, (0, s * 0.2, 0.4 + 0.1 * s), (0.1, 0.2, 0.045), rotation=rotation_from_euler(s * 28, 0, 0))
        for s in (1, -1)
    ]
    return parts, Words(
        ("sunflower",),
        petal,
        sized(h, 0.97, 1.08, "short", "tall"),
        [(middle, "center"), (green, "stem|leaves")],
        pal.typical,
    )
