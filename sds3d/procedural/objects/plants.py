"""Plants and mushrooms."""

from __future__ import annotations

import math
import random

import numpy as np

from sds3d.procedural.objects.shapes import Built, arc, around, ball, ring, rod, stump
from sds3d.procedural.objects.vocabulary import Palette, Words, darker, sized
from sds3d.procedural.parts import rotation_from_euler


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


def cactus(rng: random.Random) -> Built:
    """A column with bent arms in a pot."""
    pal = Palette(rng, glossy=0)
    green = pal.pick("green")
    pot = pal.pick("brown", "orange", unlike=(green,))
    h = rng.uniform(0.9, 1.25)
    parts = [
        stump(pot, (0, 0, 0.17), 0.25, 0.18, 1.3), ring(pot, (0, 0, 0.34), 0.32, 0.05),
        stump(pal.fixed("brown"), (0, 0, 0.3), 0.3, 0.05),
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
    """A bloom of petals around a center that faces up and to the front, on a stem in a pot."""
    pal = Palette(rng, glossy=0)
    petal = pal.pick("red", "pink", "yellow", "white")
    middle = pal.pick("yellow", "brown", unlike=(petal,))
    green, pot = pal.fixed("green"), pal.pick("brown", "orange", "blue", unlike=(petal,))
    h, n = rng.uniform(0.85, 1.1), rng.choice((5, 6, 7))
    parts = [
        stump(pot, (0, 0, 0.17), 0.22, 0.18, 1.35), ring(pot, (0, 0, 0.34), 0.29, 0.05),
        stump(pal.fixed("brown"), (0, 0, 0.3), 0.27, 0.05),
        rod(green, (0, 0, 0.3), (0, 0, h), 0.05),
        *[ball(green, (0, s * 0.16, 0.55), (0.09, 0.17, 0.05), rotation=rotation_from_euler(s * 30, 0, 0)) for s in (1, -1)],
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
    """A wide head of many narrow petals around a dark center, on a tall stem with leaves."""
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
