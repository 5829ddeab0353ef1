"""Plain geometric solids."""

from __future__ import annotations

import random

from sds3d.procedural.objects.shapes import UPRIGHT, Built, box, ring, stump
from sds3d.procedural.objects.vocabulary import Palette, Words, sized
from sds3d.procedural.parts import Pattern, rotation_from_euler


def cube(rng: random.Random) -> Built:
    """A cube: plain or patterned."""
    pal = Palette(rng, glossy=0.3)
    color = pal.pick("red", "blue", "green", "yellow", "wooden", also=("wooden", "stone"))
    second = pal.pick("white", "black", unlike=(color,))
    pattern: Pattern = (
        rng.choice(("plain", "plain", "dots", "stripes", "checks")) if color.pattern == "plain" else "plain"
    )
    coat = pal.patterned(color, pattern, rng.uniform(2.5, 4.0), second) if pattern != "plain" else color
    body = box(coat, (0, 0, 0), (0.45, 0.45, 0.45), rounding=rng.uniform(0.01, 0.08))
    return [body], Words(
        ("cube",), color, pal.adjectives, [(second, pattern)] if pattern != "plain" else [], pal.typical
    )


def cone_solid(rng: random.Random) -> Built:
    """A plain cone."""
    pal = Palette(rng, glossy=0.3)
    color, h = pal.pick("red", "blue", "green", "yellow", also=("wooden",)), rng.uniform(0.4, 0.7)
    return [stump(color, (0, 0, 0), 0.45, h, 0.0, rounding=0.02)], Words(
        ("cone",), color, pal.adjectives + sized(h, 0.47, 0.6, "short", "tall"), [], pal.typical
    )


def cylinder_solid(rng: random.Random) -> Built:
    """A plain cylinder."""
    pal = Palette(rng, glossy=0.3)
    color, h = pal.pick("red", "blue", "green", "yellow", also=("wooden", "stone")), rng.uniform(0.3, 0.8)
    return [stump(color, (0, 0, 0), 0.4, h)], Words(
        ("cylinder", "column") if h > 0.65 else ("cylinder",),
        color,
        pal.adjectives + sized(h, 0.4, 0.65, "short", "tall"),
        [],
        pal.typical,
    )


def ring_solid(rng: random.Random) -> Built:
    """A plain ring, lying or standing."""
    pal = Palette(rng, glossy=0.3)
    color, tube = pal.pick("gold", "red", "blue"), rng.uniform(0.1, 0.22)
    turn = rotation_from_euler(0, 90, 0) if rng.random() < 0.5 else UPRIGHT
    return [ring(color, (0, 0, 0), 0.45, tube, rotation=turn)], Words(
        ("ring",), color, pal.adjectives + sized(tube, 0.13, 0.18, "thin", "thick"), [], pal.typical
    )
