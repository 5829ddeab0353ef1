"""Toys, games and sports equipment."""

from __future__ import annotations

import random

from sds3d.procedural.objects.shapes import ALONG_Y, Built, ball, box, pair, ring, rod, stump
from sds3d.procedural.objects.vocabulary import Palette, Words, darker, sized
from sds3d.procedural.parts import Pattern, rotation_from_euler


def ball_toy(rng: random.Random) -> Built:
    """A ball: plain, dotted, striped, checked or of two halves."""
    pal = Palette(rng, glossy=0.4)
    color = pal.pick(*("red", "blue", "green", "yellow"))
    second = pal.pick("white", "yellow", unlike=(color,))
    pattern: Pattern = rng.choice(("plain", "plain", "dots", "stripes", "checks"))
    coat = pal.patterned(color, pattern, rng.uniform(3.0, 4.5), second) if pattern != "plain" else color
    return [ball(coat, (0, 0, 0), 0.5)], Words(
        ("ball",),
        color,
        pal.adjectives + ["round"],
        [(second, pattern)] if pattern != "plain" else [],
        pal.typical,
    )


def dice(rng: random.Random) -> Built:
    """A cube with pips: one on top, two in front, three and more on the sides."""
    pal = Palette(rng, glossy=0.4)
    body = pal.pick("white", "red")
    pip = pal.pick("black", "white", unlike=(body,))
    r, e, k = 0.085, 0.43, 0.21
    spots = [
        (0, 0, e),
        (e, k, k),
        (e, -k, -k),
        (k, e, k),
        (0, e, 0),
        (-k, e, -k),
        *[(x, -e, z) for x in (-k, k) for z in (-k, k)],
    ]
    spots += [(-e, 0, 0), *[(-e, y, z) for y in (-k, k) for z in (-k, k)]]
    parts = [
        box(body, (0, 0, 0), (0.45, 0.45, 0.45), rounding=rng.uniform(0.05, 0.12)),
        *[ball(pip, s, r) for s in spots],
    ]
    return parts, Words(("dice",), body, pal.adjectives, [(pip, "dots|pips")], pal.typical)


def chess_pawn(rng: random.Random) -> Built:
    """A turned foot, a tapering body, a collar and a ball."""
    pal = Palette(rng, glossy=0.5)
    wood = pal.pick("black", "white", "wooden", "beige", also=("wooden", "stone"))
    wood = wood._replace(pattern="plain")
    h, wide = rng.uniform(0.3, 0.4), rng.uniform(0.34, 0.4)
    parts = [
        stump(wood, (0, 0, 0.06), wide, 0.07), ring(wood, (0, 0, 0.16), 0.78 * wide, 0.075),
        stump(wood, (0, 0, 0.16 + h), 0.75 * wide, h, 0.42, rounding=0.0, blend=0.05),
        stump(wood, (0, 0, 0.18 + 2 * h), 0.24, 0.045), ball(wood, (0, 0, 0.36 + 2 * h), 0.215, blend=0.03),
    ]  # fmt: skip
    return parts, Words(("chess pawn",), wood, pal.adjectives + sized(h, 0.33, 0.37, "short", "tall"), [], pal.typical)


def spinning_top(rng: random.Random) -> Built:
    """Two cones base to base, banded, with a stick to turn it by."""
    pal = Palette(rng, glossy=0.5)
    body = pal.pick("red", "blue", "green", "yellow")
    band = pal.pick("yellow", "white", "blue", unlike=(body,))
    stick, low, high = pal.fixed("wooden", "silver"), rng.uniform(0.26, 0.36), rng.uniform(0.12, 0.2)
    z = 2 * low
    parts = [
        stump(body, (0, 0, low), 0.07, low, 7.2, rounding=0.0),
        stump(band, (0, 0, z + 0.03), 0.52, 0.075, rounding=0.03),
        stump(body, (0, 0, z + 0.09 + high), 0.48, high, 0.3, rounding=0.0),
        ring(band, (0, 0, 0.95 * low), 0.29, 0.035), rod(stick, (0, 0, z), (0, 0, z + 2 * high + 0.38), 0.06),
        ball(stick, (0, 0, z + 2 * high + 0.42), 0.085),
    ]  # fmt: skip
    return parts, Words(("spinning top",), body, pal.adjectives, [(band, "stripe|rim")], pal.typical)


def yo_yo(rng: random.Random) -> Built:
    """Two discs on an axle, standing on edge, with a string that ends in a loop."""
    pal = Palette(rng, glossy=0.5)
    body = pal.pick("red", "blue", "green", "yellow")
    cap, string = pal.pick("white", "yellow", "gold", unlike=(body,)), pal.fixed("white")
    thick = rng.uniform(0.11, 0.16)
    parts = [
        *pair(stump, body, (0, thick + 0.035, 0.45), 0.42, thick, rotation=ALONG_Y, rounding=0.07),
        stump(string, (0, 0, 0.45), 0.2, 0.06, rotation=ALONG_Y),
        *pair(stump, cap, (0, 2 * thick + 0.03, 0.45), 0.2, 0.03, rotation=ALONG_Y),
        rod(string, (0.17, 0, 0.5), (0.19, 0, 1.25), 0.03),
        ring(string, (0.19, 0, 1.35), 0.1, 0.03, rotation=rotation_from_euler(90, 0, 0)),
    ]  # fmt: skip
    return parts, Words(
        ("yo-yo",),
        body,
        pal.adjectives + sized(thick, 0.125, 0.145, "thin", "thick"),
        [(cap, "cap|center"), (string, "string")],
        pal.typical,
    )


def bowling_pin(rng: random.Random) -> Built:
    """A club with two stripes around its neck."""
    pal = Palette(rng, glossy=0.6)
    body = pal.pick("white")
    band, fat = pal.pick("red", "blue", unlike=(body,)), rng.uniform(0.27, 0.34)
    parts = [
        ball(body, (0, 0, 0.45), (fat, fat, 0.46)), stump(body, (0, 0, 0.08), 0.17, 0.08, 1.2),
        rod(body, (0, 0, 0.6), (0, 0, 1.12), 0.21, taper=0.62, blend=0.12),
        ball(body, (0, 0, 1.22), (0.165, 0.165, 0.19), blend=0.06),
        *[ring(band, (0, 0, z), 0.115 + 0.01 * k, 0.045) for k, z in enumerate((1.06, 0.96))],
    ]  # fmt: skip
    return parts, Words(
        ("bowling pin",),
        body,
        pal.adjectives + sized(fat, 0.29, 0.32, "thin", "fat"),
        [(band, "stripes|bands")],
        pal.typical,
    )


def dumbbell(rng: random.Random) -> Built:
    """Two weights on a bar."""
    pal = Palette(rng, glossy=0.4)
    weight = pal.pick("black", "grey", "silver", "blue")
    bar = pal.pick("silver", "grey", unlike=(weight,))
    n, r, plates = rng.uniform(0.4, 0.5), rng.uniform(0.28, 0.36), rng.choice((1, 2))
    parts = [rod(bar, (0, -n - 0.22, 0), (0, n + 0.22, 0), 0.085)]
    parts += pair(stump, weight, (0, n, 0), r, 0.11, rotation=ALONG_Y)
    if plates == 2:
        parts += pair(stump, weight, (0, n + 0.17, 0), 0.76 * r, 0.09, rotation=ALONG_Y)
    return parts, Words(
        ("dumbbell",), weight, pal.adjectives + sized(r, 0.3, 0.34, "small", "big"), [(bar, "bar|handle")], pal.typical
    )


def trophy(rng: random.Random) -> Built:
    """A two-handled cup on a block."""
    pal = Palette(rng, glossy=0.4)
    cup = pal.pick("gold", "gold", "silver")
    base, h = pal.pick("black", "wooden", unlike=(cup,)), rng.uniform(0.3, 0.4)
    z = 0.5 + h
    parts = [
        box(base, (0, 0, 0.12), (0.26, 0.26, 0.13)), stump(cup, (0, 0, 0.29), 0.2, 0.06, 0.5),
        stump(cup, (0, 0, 0.42), 0.075, 0.14),
        stump(cup, (0, 0, z), 0.2, h, 1.85), stump(darker(cup), (0, 0, z + 0.1), 0.16, h, 1.85, cut=True),
        *[ring(cup, (0, s * 0.4, z + 0.02), 0.19, 0.055, rotation=rotation_from_euler(0, 90, 0)) for s in (1, -1)],
    ]  # fmt: skip
    return parts, Words(("trophy",), cup, pal.adjectives, [(base, "base")], pal.typical)
