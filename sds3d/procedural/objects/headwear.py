"""Hats and crowns."""

from __future__ import annotations

import random

from sds3d.procedural.objects.shapes import Built, around, ball, ring, stump, wedge
from sds3d.procedural.objects.vocabulary import Palette, Words, darker, sized
from sds3d.procedural.parts import Pattern, rotation_from_euler


def top_hat(rng: random.Random) -> Built:
    """A brim, a crown and a band."""
    pal = Palette(rng, glossy=0.1)
    felt = pal.pick("black")
    band, h = pal.pick("red", "white", "grey", unlike=(felt,)), rng.uniform(0.26, 0.42)
    parts = [
        stump(felt, (0, 0, 0), 0.62, 0.05),
        stump(felt, (0, 0, h), 0.36, h, 1.08),
        stump(band, (0, 0, 0.13), 0.385, 0.09, 1.01, rounding=0.0),
    ]
    return parts, Words(
        ("top hat",),
        felt,
        pal.adjectives + sized(h, 0.3, 0.38, "low", "tall"),
        [(band, "band|ribbon")],
        pal.typical,
    )


def party_hat(rng: random.Random) -> Built:
    """A patterned cone with a bobble."""
    pal = Palette(rng, glossy=0.2)
    paper = pal.pick("red", "blue", "yellow", "pink")
    second = pal.pick("white", "yellow", unlike=(paper,))
    pattern: Pattern = rng.choice(("dots", "stripes"))
    h = rng.uniform(0.45, 0.6)
    parts = [
        stump(pal.patterned(paper, pattern, 4.0, second), (0, 0, h), 0.38, h, 0.1),
        ball(second, (0, 0, 2 * h), 0.14),
        ring(second, (0, 0, 0.03), 0.37, 0.06),
    ]
    return parts, Words(("party hat",), paper, [], [(second, pattern), (second, "pompom")], pal.typical)


def crown(rng: random.Random) -> Built:
    """A band with points, each with a ball, and gems."""
    pal = Palette(rng, glossy=0.4)
    metal = pal.pick("gold", "gold", "silver")
    gem, lining = pal.pick("red", "blue", "green", unlike=(metal,)), darker(metal)
    n, h = rng.choice((5, 6, 7)), rng.uniform(0.2, 0.3)
    parts = [
        stump(metal, (0, 0, 0.16), 0.45, 0.16, 1.06, rounding=0.02),
        ring(metal, (0, 0, 0.03), 0.45, 0.05),
        stump(lining, (0, 0, 0.3), 0.38, 0.24, 1.06, cut=True),
    ]
    for x, y, a in around(n, 0.45):
        parts += [
            wedge(metal, (x, y, 0.28 + h), (0.045, 1.15 / n, h), 1.0, 0.05, rotation=rotation_from_euler(0, 6, a)),
            ball(gem, (1.07 * x, 1.07 * y, 0.31 + 2 * h), 0.065),
        ]
    parts += [ball(gem, (x, y, 0.16), 0.075) for x, y, _ in around(n, 0.46)]
    return parts, Words(
        ("crown",), metal, pal.adjectives + sized(h, 0.23, 0.27, "low", "tall"), [(gem, "gems|jewels")], pal.typical
    )
