"""Boxes, barrels and buckets."""

from __future__ import annotations

import random

from sds3d.procedural.objects.shapes import ALONG_Y, Built, arc, ball, box, four, pair, ring, stump
from sds3d.procedural.objects.vocabulary import Palette, Words, darker, sized
from sds3d.procedural.parts import rotation_from_euler


def chest(rng: random.Random) -> Built:
    """A treasure chest: box, rounded lid, metal bands and a lock."""
    pal = Palette(rng, glossy=0)
    wood, metal = pal.pick("wooden", "brown", also=("wooden",)), pal.pick("gold", "silver", "black")
    if metal.name == wood.name:
        metal = pal.fixed("gold" if wood.name != "gold" else "black")
    w = rng.uniform(0.5, 0.65)
    parts = [box(wood, (0, 0, 0.22), (0.36, w, 0.24)), stump(wood, (0, 0, 0.46), 0.36, w, rotation=ALONG_Y)]
    for y in (-0.7 * w, 0.7 * w):
        parts.append(box(metal, (0, y, 0.22), (0.385, 0.055, 0.245)))
        parts.append(stump(metal, (0, y, 0.46), 0.385, 0.055, rotation=ALONG_Y))
    parts += [box(metal, (0.35, 0, 0.42), (0.06, 0.09, 0.11)), box(metal, (0, 0, 0.46), (0.375, w + 0.02, 0.035))]
    return parts, Words(("treasure chest", "chest"), wood, [], [(metal, "bands|straps"), (metal, "lock")], pal.typical)


def barrel(rng: random.Random) -> Built:
    """Two cone stumps meeting at the belly, with metal hoops."""
    pal = Palette(rng, glossy=0.1)
    wood = pal.pick("wooden", "brown", also=("wooden",))
    hoop = pal.pick("grey", "black", "silver", unlike=(wood,))
    h = rng.uniform(0.45, 0.65)
    parts = [stump(wood, (0, 0, h / 2), 0.45, h / 2 + 0.004, 0.8, rounding=0.0)]
    parts.append(stump(wood, (0, 0, -h / 2), 0.36, h / 2, 1.25, rounding=0.0))
    parts += [stump(hoop, (0, 0, s * 0.68 * h), 0.41, 0.06, rounding=0.01) for s in (1, -1)]
    parts += [stump(hoop, (0, 0, s * 0.14 * h), 0.455, 0.04, rounding=0.01) for s in (1, -1)]
    return parts, Words(
        ("barrel",), wood, pal.adjectives + sized(h, 0.5, 0.6, "small", "tall"), [(hoop, "hoops")], pal.typical
    )


def crate(rng: random.Random) -> Built:
    """A wooden box of boards with corner posts and a diagonal on each side."""
    pal = Palette(rng, glossy=0)
    wood = pal.pick("wooden", "brown", also=("wooden",))
    edge = pal.pick("brown", "grey", "black", unlike=(wood,)) if rng.random() < 0.5 else wood
    w, h = 0.45, rng.uniform(0.34, 0.45)
    parts = [
        box(wood, (0, 0, 0), (w, w, h)),
        *four(box, edge, (w - 0.02, w - 0.02, 0), (0.07, 0.07, h + 0.005), rounding=0.01),
    ]
    for z in (0.065 - h, h - 0.065):  # flush with the lid, on which other things stand
        parts += [
            *pair(box, edge, (0, w - 0.02, z), (w, 0.07, 0.07), rounding=0.01),
            *[box(edge, (s * (w - 0.02), 0, z), (0.07, w, 0.07), rounding=0.01) for s in (1, -1)],
        ]
    return parts, Words(
        ("crate",),
        wood,
        sized(h, 0.37, 0.42, "flat", "tall"),
        [(edge, "edges|corners")] if edge is not wood else [],
        pal.typical,
    )


def gift(rng: random.Random) -> Built:
    """A box wrapped with ribbon and a bow."""
    pal = Palette(rng, glossy=0.3)
    paper = pal.pick("red", "blue", "green", "white")
    ribbon = pal.pick("gold", "yellow", "white", "red", unlike=(paper,))
    d, w, h, dotted = rng.uniform(0.38, 0.5), rng.uniform(0.38, 0.55), rng.uniform(0.25, 0.45), rng.random() < 0.3
    second = pal.pick("white", unlike=(paper, ribbon))
    coat = pal.patterned(paper, "dots", 4.5, second) if dotted else paper
    parts = [
        box(coat, (0, 0, h), (d, w, h), rounding=0.02),
        box(ribbon, (0, 0, h), (0.07, w + 0.02, h + 0.02), rounding=0.01),
        box(ribbon, (0, 0, h), (d + 0.02, 0.07, h + 0.02), rounding=0.01),
        *[ball(ribbon, (0, s * 0.17, 2 * h + 0.1), (0.08, 0.17, 0.1), rotation=rotation_from_euler(s * 25, 0, 0)) for s in (1, -1)],
        ball(ribbon, (0, 0, 2 * h + 0.07), 0.085),
    ]  # fmt: skip
    details = [(ribbon, "ribbon|bow")] + ([(second, "dots")] if dotted else [])
    return parts, Words(("gift",), paper, sized(h, 0.29, 0.41, "flat", "tall"), details, pal.typical)


def bucket(rng: random.Random) -> Built:
    """A pail that widens to the top, with a raised handle; empty, or full of water or sand."""
    pal = Palette(rng, glossy=0.3)
    body = pal.pick("blue", "red", "silver", "yellow")
    handle = pal.pick("silver", "white", "black", unlike=(body,))
    h, fill = rng.uniform(0.32, 0.44), rng.choice(("", "", "water", "sand"))
    inside = pal.fixed("blue") if fill == "water" else pal.fixed("beige") if fill else darker(body)
    deep = 0.12 if fill else 2 * h - 0.1
    parts = [
        stump(body, (0, 0, h), 0.34, h, 1.3, rounding=0.02), ring(body, (0, 0, 2 * h), 0.44, 0.045),
        stump(inside, (0, 0, 2 * h - deep / 2 + 0.04), 0.38 - 0.12 * deep, deep / 2 + 0.04, 1.0 + 0.25 * deep, cut=True),
        arc(handle, (0, 0, 2 * h - 0.05), 0.45, 88, 0.04, rotation=rotation_from_euler(0, 0, 90)),
        *pair(ball, handle, (0, 0.45, 2 * h - 0.05), 0.065),
    ]  # fmt: skip
    details = [(handle, "handle")] + ([("", fill)] if fill else [])
    return parts, Words(("bucket",), body, pal.adjectives + sized(h, 0.35, 0.41, "short", "tall"), details, pal.typical)
