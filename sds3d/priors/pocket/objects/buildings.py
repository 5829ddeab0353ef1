"""Buildings."""

from __future__ import annotations

import math
import random

from sds3d.priors.pocket.objects.shapes import ALONG_X, ball, box, pair, rod, stump
from sds3d.priors.pocket.objects.vocabulary import Palette, Words, sized
from sds3d.priors.pocket.parts import Part, rotation_from_euler

Built = tuple[list[Part], Words]


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
        box(wall, (0, 0, h), (d, w, h), rounding=0.01), box(wall, (0, 0, 2 * h), (edge, w, edge), rotation=turn, rounding=0.0),
        *[box(roof, (s * (d / 2 + 0.05), 0, 2 * h + d / 2), (slope + 0.06, w + 0.08, 0.05), rotation=rotation_from_euler(0, s * 45, 0)) for s in (1, -1)],
        box(door, (d, 0, 0.21), (0.04, 0.12, 0.21)), box(chimney, (-0.2, 0.55 * w, 2 * h + d * 0.75), (0.09, 0.09, 0.26)),
        *pair(box, glass, (d, 0.62 * w, 1.1 * h), (0.035, 0.12, 0.13)), box(glass, (0, 0, 1.1 * h), (0.14, w + 0.03, 0.13)),
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
        stump(wall, (0, 0, h), 0.32, h, 0.85, rounding=0.0), stump(wall, (0, 0, 2 * h + 0.08), 0.36, 0.12, rounding=0.0),
        stump(roof, (0, 0, 2 * h + 0.45), 0.44, 0.3, 0.03), box(dark, (0.3, 0, 0.16), (0.07, 0.1, 0.17), rounding=0.03),
        box(dark, (0, 0, 1.4 * h), (0.31, 0.07, 0.1), rounding=0.02), box(dark, (0, 0, 1.4 * h), (0.07, 0.31, 0.1), rounding=0.02),
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
