"""Buildings."""

from __future__ import annotations

import math
import random

from sds3d.procedural.objects.shapes import ALONG_X, ALONG_Y, Built, arc, ball, box, pair, ring, rod, stump, wedge
from sds3d.procedural.objects.vocabulary import Palette, Words, darker, sized
from sds3d.procedural.parts import rotation_from_euler


def house(rng: random.Random) -> Built:
    """Walls, a gable roof, a door, windows and a chimney."""
    pal = Palette(rng, glossy=0)
    wall = pal.pick("white", "beige", "yellow", also=("stone",))
    roof = pal.pick("red", "brown", unlike=(wall,))
    door = pal.pick("brown", "green", "blue", unlike=(wall, roof))
    glass, chimney = pal.fixed("blue", "teal"), pal.fixed("red", "brown", "grey")
    d, w, h = rng.uniform(0.4, 0.5), rng.uniform(0.5, 0.65), rng.uniform(0.28, 0.42)
    turn = rotation_from_euler(0, 45, 0)
    edge = d / math.sqrt(2)
    slope = 0.72 * d
    parts = [
        box(wall, (0, 0, h), (d, w, h), rounding=0.01),
        box(wall, (0, 0, 2 * h), (edge, w, edge), rotation=turn, rounding=0.0),
        *[box(roof, (s * (d / 2 + 0.05), 0, 2 * h + d / 2), (slope + 0.06, w + 0.08, 0.05), rotation=rotation_from_euler(0, s * 45, 0)) for s in (1, -1)],
        box(door, (d, 0, 0.21), (0.04, 0.12, 0.21)),
        box(chimney, (-0.2, 0.55 * w, 2 * h + d * 0.75), (0.09, 0.09, 0.26)),
        *pair(box, glass, (d, 0.62 * w, 1.1 * h), (0.035, 0.12, 0.13)),
        box(glass, (0, 0, 1.1 * h), (0.14, w + 0.03, 0.13)),
        box(glass, (-d, 0, 1.1 * h), (0.03, 0.16, 0.13)),
    ]  # fmt: skip
    return parts, Words(
        ("house",),
        wall,
        sized(w, 0.54, 0.61, "small", "long"),
        [(roof, "roof"), (door, "door"), (wall, "walls")],
        pal.typical,
    )


def castle(rng: random.Random) -> Built:
    """Four round corner towers with cone roofs, walls, a keep and a gate."""
    pal = Palette(rng, glossy=0)
    wall = pal.pick("stone", "grey", also=("stone",))
    roof = pal.pick("blue", "red", unlike=(wall,))
    gate, h = pal.fixed("wooden", "brown"), rng.uniform(0.35, 0.5)
    parts = [box(wall, (0, 0, 0.26), (0.5, 0.5, 0.26), rounding=0.0)]
    for x in (-0.5, 0.5):
        parts += pair(stump, wall, (x, 0.5, h), 0.18, h, rounding=0.0)
        parts += pair(stump, roof, (x, 0.5, 2 * h + 0.16), 0.23, 0.18, 0.05)
    keep = rng.uniform(0.45, 0.65)
    parts += [
        box(wall, (0, 0, keep), (0.26, 0.26, keep), rounding=0.0),
        stump(roof, (0, 0, 2 * keep + 0.2), 0.36, 0.22, 0.05),
    ]
    parts += [
        box(gate, (0.5, 0, 0.17), (0.05, 0.14, 0.18), rounding=0.03),
        stump(gate, (0.5, 0, 0.33), 0.14, 0.05, rotation=ALONG_X),
    ]
    for x in (-0.5, 0.5):
        parts += [box(wall, (x, y, 0.55), (0.06, 0.06, 0.08), rounding=0.0) for y in (-0.2, 0.0, 0.2)]
    return parts, Words(("castle",), wall, [], [(roof, "roofs"), (gate, "gate")], pal.typical)


def tower(rng: random.Random) -> Built:
    """A round tower with a cone roof, windows and a door."""
    pal = Palette(rng, glossy=0)
    wall = pal.pick("stone", "white", "grey", also=("stone",))
    roof = pal.pick("red", "blue", unlike=(wall,))
    dark, h = pal.fixed("brown"), rng.uniform(0.45, 0.8)
    parts = [
        stump(wall, (0, 0, h), 0.32, h, 0.85, rounding=0.0),
        stump(wall, (0, 0, 2 * h + 0.08), 0.36, 0.12, rounding=0.0),
        stump(roof, (0, 0, 2 * h + 0.45), 0.44, 0.3, 0.03), box(dark, (0.3, 0, 0.16), (0.07, 0.1, 0.17), rounding=0.03),
        box(dark, (0, 0, 1.4 * h), (0.31, 0.07, 0.1), rounding=0.02),
        box(dark, (0, 0, 1.4 * h), (0.07, 0.31, 0.1), rounding=0.02),
    ]  # fmt: skip
    return parts, Words(
        ("tower",),
        wall,
        sized(h, 0.55, 0.7, "short", "tall"),
        [(roof, "roof"), (dark, "door")],
        pal.typical,
    )


def lighthouse(rng: random.Random) -> Built:
    """A striped tapering tower, a gallery, a lamp room and a cap."""
    pal = Palette(rng, glossy=0.1)
    wall = pal.pick("white")
    stripe = pal.pick("red", "blue", unlike=(wall,))
    light, h, n = pal.fixed("yellow"), rng.uniform(0.55, 0.75), 4
    parts = []
    for k in range(n):
        low, high = 0.34 - 0.13 * k / n, 0.34 - 0.13 * (k + 1) / n
        z = 0.1 + (2 * k + 1) * h / n
        parts.append(stump(wall if k % 2 else stripe, (0, 0, z), low, h / n + 0.002, high / low, rounding=0.0))
    z = 0.1 + 2 * h
    parts += [
        stump(pal.fixed("grey"), (0, 0, 0.05), 0.48, 0.08, 0.85), stump(stripe, (0, 0, z + 0.03), 0.3, 0.05),
        stump(light, (0, 0, z + 0.17), 0.15, 0.14), stump(stripe, (0, 0, z + 0.4), 0.23, 0.12, 0.1),
        box(pal.fixed("brown"), (0.32, 0, 0.24), (0.06, 0.08, 0.14)),
    ]  # fmt: skip
    return parts, Words(
        ("lighthouse",),
        wall,
        sized(h, 0.6, 0.69, "short", "tall"),
        [(stripe, "stripes|bands"), (light, "light")],
        pal.typical,
    )


def windmill(rng: random.Random) -> Built:
    """A tapering mill with a cap and four sails in front."""
    pal = Palette(rng, glossy=0)
    wall = pal.pick("white", "beige", "stone", also=("stone",))
    cap = pal.pick("brown", "red", unlike=(wall,))
    sail = pal.pick("wooden", "white", "brown", unlike=(cap, wall))
    h, reach, spin = rng.uniform(0.5, 0.6), rng.uniform(0.36, 0.44), rng.uniform(0, 90)
    parts = [
        stump(wall, (0, 0, h), 0.36, h, 0.65),
        ball(cap, (0, 0, 2 * h), (0.28, 0.28, 0.24)),
        rod(cap, (0.1, 0, 2 * h), (0.42, 0, 2 * h), 0.07),
    ]
    for k in range(4):
        a = math.radians(spin + 90 * k)
        y, z = math.sin(a) * (reach + 0.02), math.cos(a) * (reach + 0.02)
        parts.append(
            box(sail, (0.4, y, 2 * h + z), (0.035, 0.11, reach), rotation=rotation_from_euler(-spin - 90 * k, 0, 0))
        )
    door = pal.fixed("brown")
    parts += [box(door, (0.33, 0, 0.18), (0.05, 0.1, 0.18)), box(door, (0, 0, 1.1 * h), (0.08, 0.32, 0.09))]
    return parts, Words(("windmill",), wall, [], [(sail, "sails|vanes|arms"), (cap, "cap|roof")], pal.typical)


def tent(rng: random.Random) -> Built:
    """A ridge tent with an open front, poles and pegs, or a round tipi."""
    pal = Palette(rng, glossy=0)
    cloth = pal.pick("green", "orange", "blue", "red", "beige")
    pole, dark = pal.fixed("wooden"), darker(cloth, 0.45)
    second = pal.pick("white", "yellow", "red", unlike=(cloth,))
    striped = rng.random() < 0.25
    coat = pal.patterned(cloth, "stripes", 3.5, second) if striped else cloth
    h, w = rng.uniform(0.34, 0.46), rng.uniform(0.46, 0.58)
    details = [(second, "stripes")] if striped else []
    if rng.random() < 0.35:
        parts = [
            stump(coat, (0, 0, 1.3 * h), w, 1.3 * h, 0.1, rounding=0.0),
            wedge(dark, (w - 0.2, 0, 0.3), (0.26, 0.17, 0.32), 1.0, 0.05, cut=True),
        ]
        parts += [
            rod(pole, (0.05 * c, 0.05 * s, 2.45 * h), (-0.1 * c, -0.1 * s, 2.6 * h + 0.2), 0.03)
            for c, s in ((1, 0), (-0.5, 0.87), (-0.5, -0.87))
        ]
        return parts, Words(("tipi",), cloth, [], [*details, (pole, "poles")], pal.typical)
    parts = [
        wedge(coat, (0, 0, h), (0.7, w, h), 0.86, 0.02),
        wedge(dark, (0.68, 0, 0.8 * h - 0.03), (0.36, 0.72 * w, 0.84 * h), 1.0, 0.05, cut=True),
        *[rod(pole, (x, 0, 2 * h - 0.06), (x * 1.05, 0, 2 * h + 0.1), 0.035) for x in (-0.58, 0.58)],
        box(pole, (0, 0, 0.0), (0.76, w + 0.05, 0.02)),
    ]  # fmt: skip
    return parts, Words(("tent",), cloth, sized(h, 0.37, 0.43, "low", "tall"), [*details, (pole, "poles")], pal.typical)


def igloo(rng: random.Random) -> Built:
    """A dome of snow blocks with a tunnel for a door."""
    pal = Palette(rng, glossy=0)
    snow = pal.fixed("white")
    if not pal.typical:
        snow = pal.pick("blue", "grey", "teal", "white")
    joint = pal.fixed("blue")._replace(color=(0.72, 0.82, 0.92)) if snow.name == "white" else darker(snow, 0.85)
    coat = pal.patterned(snow, "checks", rng.uniform(4.0, 5.0), joint)
    tall, dark = rng.uniform(0.5, 0.62), pal.fixed("black")
    parts = [
        ball(coat, (0, 0, 0), (0.62, 0.62, tall)),
        stump(coat, (0.5, 0, 0.02), 0.26, 0.3, rotation=ALONG_X, rounding=0.02),
        box(snow, (0, 0, -0.45), (1.2, 1.2, 0.45), cut=True, rounding=0.0),
        stump(dark, (0.7, 0, 0.02), 0.18, 0.25, rotation=ALONG_X, cut=True),
    ]  # fmt: skip
    return parts, Words(("igloo",), snow, sized(tall, 0.53, 0.59, "low", "tall"), [(dark, "entrance")], pal.typical)


def pyramid(rng: random.Random) -> Built:
    """Four smooth sides, or steps, and a dark door; at times a golden tip."""
    pal = Palette(rng, glossy=0)
    rock = pal.pick("beige", "stone", "yellow", also=("stone",))
    door, tip, h = pal.fixed("black", "brown"), pal.fixed("gold"), rng.uniform(0.34, 0.5)
    if rock.name in ("black", "brown", "wooden"):
        door = pal.fixed("white")
    nouns: tuple[str, ...] = ("pyramid",)
    details = [(door, "door|entrance")]
    if rng.random() < 0.35:
        n = 5
        parts = [
            box(rock, (0, 0, (2 * k + 1) * h / n), (0.72 - 0.13 * k, 0.72 - 0.13 * k, h / n + 0.005), rounding=0.01)
            for k in range(n)
        ]
        parts += [box(door, (0.22, 0, 1.8 * h), (0.03, 0.06, 0.17 * h), rounding=0.0)]
        nouns = ("step pyramid",)
    else:
        parts = [
            wedge(rock, (0, 0, h), (0.75, 0.75, h), 0.0, 0.0),
            box(door, (0.62, 0, 0.12), (0.12, 0.1, 0.13), rounding=0.0),
        ]
        if rng.random() < 0.4 and rock.name not in ("yellow", "gold", "orange", "beige", "bronze"):
            parts.append(wedge(tip, (0, 0, 1.76 * h + 0.02), (0.19, 0.19, 0.25 * h), 0.0, 0.0))
            details.append((tip, "tip|top"))
    return parts, Words(nouns, rock, sized(h, 0.38, 0.46, "flat", "tall"), details, pal.typical)


def well(rng: random.Random) -> Built:
    """A round stone wall with a roof on two posts, a winch and a hanging bucket."""
    pal = Palette(rng, glossy=0)
    wall = pal.pick("stone", "grey", also=("stone", "stone"))
    roof = pal.pick("red", "brown", "wooden", unlike=(wall,))
    wood = pal.fixed("wooden") if roof.name not in ("wooden", "brown") else pal.fixed("brown")
    dark, r, h = pal.fixed("black", "blue"), rng.uniform(0.42, 0.5), rng.uniform(0.2, 0.28)
    top = 2 * h + 0.62
    parts = [
        stump(wall, (0, 0, h), r, h, rounding=0.02), ring(wall, (0, 0, 2 * h), r - 0.05, 0.07),
        stump(dark, (0, 0, 2 * h), r - 0.14, 0.22, cut=True),
        *pair(box, wood, (0, r - 0.04, h + 0.4), (0.06, 0.05, h + 0.24)),
        wedge(roof, (0, 0, top + 0.14), (0.45, r + 0.14, 0.18), 0.02, 1.0),
        rod(wood, (0, -r - 0.06, 2 * h + 0.42), (0, r + 0.06, 2 * h + 0.42), 0.06),
        rod(wood, (0, r + 0.1, 2 * h + 0.42), (0.13, r + 0.1, 2 * h + 0.32), 0.035),
        rod(wood, (0, 0, 2 * h + 0.2), (0, 0, 2 * h + 0.42), 0.025), stump(wood, (0, 0, 2 * h + 0.14), 0.09, 0.1, 1.2),
    ]  # fmt: skip
    return parts, Words(("well",), wall, [], [(roof, "roof"), (wood, "posts|bucket")], pal.typical)


def bridge(rng: random.Random) -> Built:
    """An arched deck with railings over a round opening."""
    pal = Palette(rng, glossy=0)
    deck = pal.pick("stone", "red", "wooden", also=("stone", "wooden"))
    rail = deck if rng.random() < 0.4 else pal.pick("brown", "white", "grey", unlike=(deck,))
    w, bow = rng.uniform(0.24, 0.34), rng.uniform(1.0, 1.25)
    edge = math.sqrt(bow * bow - 0.85**2)  # the center of the bow lies this far below the ends

    def rise(x: float) -> float:
        return math.sqrt(bow * bow - x * x) - edge

    n = 7
    parts = []
    for k in range(n):
        x = 0.8 * (2 * k - n + 1) / n
        slope = rotation_from_euler(0, math.degrees(math.asin(x / bow)), 0)
        parts.append(box(deck, (x, 0, rise(x)), (0.95 / n, w, 0.055), rotation=slope, rounding=0.01))
    parts += [box(deck, (s * 0.72, 0, 0.08), (0.14, w, 0.12), rounding=0.02) for s in (1, -1)]
    for s in (1, -1):
        parts.append(arc(rail, (0, s * w, -edge + 0.22), bow, math.degrees(math.asin(0.8 / bow)), 0.035))
        parts += [
            rod(rail, (x, s * w, rise(x)), (x, s * w, rise(x) + 0.22), 0.04) for x in (-0.76, -0.4, 0.0, 0.4, 0.76)
        ]
    return parts, Words(
        ("bridge",),
        deck,
        sized(w, 0.27, 0.31, "narrow", "wide"),
        [(rail, "railings|rails")] if rail is not deck else [],
        pal.typical,
    )


def church(rng: random.Random) -> Built:
    """A nave with a gable roof, and a square tower with a spire in front."""
    pal = Palette(rng, glossy=0)
    wall = pal.pick("white", "beige", "stone", also=("stone",))
    roof = pal.pick("red", "grey", "brown", "blue", unlike=(wall,))
    door, glass, cross = (
        pal.pick("brown", unlike=(wall,)),
        pal.fixed("blue", "teal") if wall.name not in ("blue", "teal") else pal.fixed("yellow"),
        pal.fixed("gold"),
    )
    h, spire = rng.uniform(0.24, 0.32), rng.uniform(0.3, 0.42)
    top = 2 * h + 0.5
    parts = [
        box(wall, (-0.2, 0, h), (0.56, 0.34, h), rounding=0.0),
        wedge(roof, (-0.2, 0, 2 * h + 0.15), (0.6, 0.41, 0.17), 1.0, 0.02),
        box(wall, (0.42, 0, top / 2), (0.2, 0.2, top / 2), rounding=0.0),
        wedge(roof, (0.42, 0, top + spire - 0.01), (0.25, 0.25, spire), 0.0, 0.0),
        rod(cross, (0.42, 0, top + 2 * spire - 0.1), (0.42, 0, top + 2 * spire + 0.2), 0.03),
        rod(cross, (0.42, -0.08, top + 2 * spire + 0.11), (0.42, 0.08, top + 2 * spire + 0.11), 0.03),
        box(door, (0.61, 0, 0.14), (0.03, 0.095, 0.14), rounding=0.0),
        stump(door, (0.61, 0, 0.28), 0.095, 0.03, rotation=ALONG_X),
        stump(glass, (0.42, 0, 2 * h + 0.22), 0.09, 0.215, rotation=ALONG_X),
        stump(glass, (0.42, 0, 2 * h + 0.22), 0.09, 0.215, rotation=ALONG_Y),
        *[box(glass, (x, 0, 1.05 * h), (0.07, 0.355, 0.14), rounding=0.0) for x in (-0.56, -0.26, 0.04)],
    ]  # fmt: skip
    return parts, Words(
        ("church",),
        wall,
        sized(spire, 0.33, 0.39, "short", "tall"),
        [(roof, "roof|spire"), (door, "door"), (glass, "windows")],
        pal.typical,
    )


def skyscraper(rng: random.Random) -> Built:
    """A tall block with rows of windows, a set-back top and a mast."""
    pal = Palette(rng, glossy=0.3)
    wall = pal.pick("grey", "silver", "blue", "brown")
    glass = pal.pick("blue", "white", "yellow", "teal", unlike=(wall,))
    h, w, steps = rng.uniform(0.6, 0.85), rng.uniform(0.3, 0.38), rng.choice((1, 2, 3))
    parts, z = [box(wall, (0, 0, 0.05), (w + 0.1, w + 0.1, 0.06))], 0.05
    for k in range(steps):
        half, side = h * (1.0, 0.45, 0.25)[k], w * (1 - 0.25 * k)
        parts.append(box(pal.patterned(wall, "checks", 5.0, glass), (0, 0, z + half), (side, side, half), rounding=0.0))
        z += 2 * half
        parts.append(box(wall, (0, 0, z), (side + 0.015, side + 0.015, 0.035), rounding=0.0))
    parts.append(rod(wall, (0, 0, z), (0, 0, z + 0.3), 0.035, taper=0.4))
    return parts, Words(("skyscraper",), wall, sized(h, 0.67, 0.78, "short", "tall"), [(glass, "windows")], pal.typical)
