"""Hand tools and weapons."""

from __future__ import annotations

import random

from sds3d.procedural.objects.shapes import (
    ALONG_X,
    UPRIGHT,
    Built,
    arc,
    around,
    ball,
    box,
    pair,
    ring,
    rod,
    stump,
    wedge,
)
from sds3d.procedural.objects.vocabulary import Palette, Words, darker, sized
from sds3d.procedural.parts import rotation_from_euler


def hammer(rng: random.Random) -> Built:
    """A wooden handle, a metal head with a face and a claw end."""
    pal = Palette(rng, glossy=0.2)
    head = pal.pick("silver", "grey", "black")
    grip, h = pal.pick("wooden", "red", unlike=(head,), also=("wooden",)), rng.uniform(0.6, 0.8)
    parts = [
        stump(grip, (0, 0, h), 0.085, h, 0.85), box(head, (0, 0, 2 * h - 0.08), (0.17, 0.13, 0.13)),
        stump(head, (0.28, 0, 2 * h - 0.08), 0.12, 0.16, rotation=ALONG_X),
        stump(head, (0.42, 0, 2 * h - 0.08), 0.165, 0.07, rotation=ALONG_X),
        *[rod(head, (-0.1, s * 0.06, 2 * h - 0.06), (-0.45, s * 0.09, 2 * h - 0.2), 0.065) for s in (1, -1)],
    ]  # fmt: skip
    return parts, Words(("hammer",), None, [], [(head, "head"), (grip, "handle|grip")], pal.typical)


def wrench(rng: random.Random) -> Built:
    """Upright: a shaft with an open jaw at the top and a ring at the bottom."""
    pal = Palette(rng, glossy=0.3)
    steel = pal.pick("silver", "silver", "grey", "red")
    n, thick = rng.uniform(0.42, 0.6), rng.uniform(0.07, 0.09)
    top = 2 * n + 0.26
    parts = [
        box(steel, (0, 0, n), (0.8 * thick, 0.1, n), rounding=0.03),
        ring(steel, (0, 0, -0.12), 0.17, thick, rotation=rotation_from_euler(0, 90, 0), blend=0.05),
        arc(steel, (0, 0, top), 0.21, 128, 1.15 * thick, rotation=rotation_from_euler(180, 0, 90), blend=0.06),
    ]  # fmt: skip
    return parts, Words(("wrench",), steel, pal.adjectives + sized(n, 0.46, 0.56, "short", "long"), [], pal.typical)


def screwdriver(rng: random.Random) -> Built:
    """Point down: a ribbed grip, a shaft and a flat tip."""
    pal = Palette(rng, glossy=0.4)
    grip = pal.pick("red", "yellow", "orange", "blue")
    steel, cap = pal.fixed("silver"), pal.pick("black", "yellow", unlike=(grip,))
    n = rng.uniform(0.35, 0.5)
    parts = [
        stump(grip, (0, 0, 0.36), 0.17, 0.36, rounding=0.05), ball(cap, (0, 0, 0.72), (0.17, 0.17, 0.13)),
        stump(cap, (0, 0, 0.0), 0.12, 0.07),
        *[rod(grip, (x, y, 0.12), (x, y, 0.62), 0.05) for x, y, _ in around(6, 0.16)],
        stump(steel, (0, 0, -n), 0.055, n),
        wedge(steel, (0, 0, -2 * n - 0.07), (0.055, 0.1, 0.09), 0.35, 0.9, rotation=rotation_from_euler(180, 0, 0)),
    ]  # fmt: skip
    return parts, Words(
        ("screwdriver",),
        None,
        sized(n, 0.39, 0.46, "short", "long"),
        [(grip, "handle|grip"), (cap, "end cap")],
        pal.typical,
    )


def saw(rng: random.Random) -> Built:
    """Level, its front to +x: a steel sheet with teeth below and a looped grip."""
    pal = Palette(rng, glossy=0.2)
    grip = pal.pick("wooden", "red", "orange", also=("wooden",))
    steel = pal.fixed("silver") if grip.name not in ("silver", "grey", "white", "stone") else pal.fixed("black")
    n, teeth = rng.uniform(0.6, 0.75), 9
    turn = rotation_from_euler(0, 90, 0)
    parts = [
        wedge(steel, (0.0, 0, 0.32), (0.17, 0.03, n), 0.6, 1.0, rotation=turn),
        *[wedge(steel, (-n + 0.14 + k * (2 * n - 0.2) / teeth, 0, 0.15 + 0.004 * k), (n / teeth, 0.03, 0.08), 0.0, 1.0, rotation=rotation_from_euler(180, 0, 0)) for k in range(teeth)],
        arc(grip, (-n - 0.08, 0, 0.34), 0.17, 180, 0.075, rotation=UPRIGHT),
        box(grip, (-n + 0.06, 0, 0.36), (0.1, 0.06, 0.2), rounding=0.04),
    ]  # fmt: skip
    return parts, Words(("saw",), None, sized(n, 0.64, 0.71, "short", "long"), [(grip, "handle|grip")], pal.typical)


def axe(rng: random.Random) -> Built:
    """A wooden handle and a flared metal head to the front."""
    pal = Palette(rng, glossy=0.2)
    head = pal.pick("silver", "grey", "red")
    grip, h = pal.pick("wooden", "brown", unlike=(head,), also=("wooden",)), rng.uniform(0.6, 0.8)
    z = 2 * h - 0.2
    parts = [
        stump(grip, (0, 0, h), 0.08, h, 0.9), box(head, (0, 0, z), (0.15, 0.11, 0.14)),
        box(head, (0.24, 0, z), (0.16, 0.07, 0.13)),
        *[box(head, (0.29, 0, z + s * 0.13), (0.19, 0.065, 0.1), rotation=rotation_from_euler(0, -s * 35, 0)) for s in (1, -1)],
        box(head, (0.42, 0, z), (0.07, 0.055, 0.27)),
    ]  # fmt: skip
    return parts, Words(("axe",), None, [], [(head, "head"), (grip, "handle")], pal.typical)


def sword(rng: random.Random) -> Built:
    """Point up: a blade, a cross guard, a grip and a pommel."""
    pal = Palette(rng, glossy=0.5)
    steel = pal.pick("silver", "silver", "grey")
    guard, grip = pal.pick("gold", "brown", unlike=(steel,)), pal.pick("brown", "black", "red", unlike=(steel,))
    n, w = rng.uniform(0.6, 0.8), rng.uniform(0.09, 0.13)
    top = 0.42 + 2 * n
    parts = [
        box(steel, (0, 0, 0.42 + n), (0.055, w, n), rounding=0.01),
        box(steel, (0, 0, top), (0.055, w / 1.41, w / 1.41), rotation=rotation_from_euler(45, 0, 0), rounding=0.01),
        box(guard, (0, 0, 0.42), (0.075, 0.3, 0.06)), rod(grip, (0, 0, 0.12), (0, 0, 0.4), 0.075),
        ball(guard, (0, 0, 0.06), 0.11), *pair(ball, guard, (0, 0.3, 0.42), 0.085),
    ]  # fmt: skip
    return parts, Words(
        ("sword",),
        None,
        pal.adjectives + sized(n, 0.65, 0.75, "short", "long"),
        [(guard, "guard|hilt"), (grip, "handle|grip")],
        pal.typical,
    )


def shovel(rng: random.Random) -> Built:
    """Upright: a blunt scoop below, a pole and a grip across its top."""
    pal = Palette(rng, glossy=0.2)
    scoop = pal.pick("grey", "silver", "black", "red")
    pole, n = pal.pick("wooden", "brown", unlike=(scoop,), also=("wooden",)), rng.uniform(0.45, 0.65)
    bend = rotation_from_euler(0, 8, 0)
    parts = [
        ball(scoop, (0.02, 0, 0.32), (0.1, 0.26, 0.36), rotation=bend),
        box(scoop, (0.02, 0, 0.5), (0.06, 0.24, 0.16), rounding=0.05, rotation=bend),
        ball(darker(scoop), (0.19, 0, 0.36), (0.13, 0.19, 0.3), cut=True, rotation=bend),
        stump(pole, (0, 0, 0.62 + n), 0.055, n), rod(pole, (0, -0.17, 0.66 + 2 * n), (0, 0.17, 0.66 + 2 * n), 0.065),
        stump(scoop, (0, 0, 0.68), 0.08, 0.12),
    ]  # fmt: skip
    return parts, Words(
        ("shovel",), None, sized(n, 0.5, 0.6, "short", "long"), [(scoop, "scoop"), (pole, "handle")], pal.typical
    )


def broom(rng: random.Random) -> Built:
    """Upright: a tuft of straw on a pole, with a binding."""
    pal = Palette(rng, glossy=0)
    straw = pal.pick("yellow", "beige")
    pole = pal.pick("wooden", "brown", "red", unlike=(straw,), also=("wooden",))
    band, n = pal.pick("red", "black", "blue", unlike=(straw, pole)), rng.uniform(0.5, 0.7)
    wisp = straw._replace(pattern="plain")
    parts = [
        stump(straw, (0, 0, 0.27), 0.34, 0.27, 0.36, rounding=0.03),
        *[rod(wisp, (x, y, 0.03), (0.4 * x, 0.4 * y, 0.5), 0.07) for x, y, _ in around(9, 0.3)],
        ring(band, (0, 0, 0.53), 0.12, 0.055), stump(pole, (0, 0, 0.5 + n), 0.055, n),
        ball(pole, (0, 0, 0.5 + 2 * n), 0.065),
    ]  # fmt: skip
    return parts, Words(
        ("broom",),
        None,
        sized(n, 0.55, 0.65, "short", "long"),
        [(straw, "bristles|straw"), (pole, "handle"), (band, "binding")],
        pal.typical,
    )


def paintbrush(rng: random.Random) -> Built:
    """Bristles up, wet with paint, a metal collar and a tapering handle."""
    pal = Palette(rng, glossy=0.3)
    grip = pal.pick("wooden", "red", "blue", also=("wooden",))
    wet = pal.pick("red", "blue", "yellow", "green", unlike=(grip,))
    metal = pal.fixed("silver")
    n = rng.uniform(0.4, 0.55)
    parts = [
        rod(grip, (0, 0, 0.1), (0, 0, 0.1 + 2 * n), 0.06, taper=1.6),
        box(metal, (0, 0, 2 * n + 0.22), (0.1, 0.19, 0.13), rounding=0.04),
        wedge(wet, (0, 0, 2 * n + 0.52), (0.095, 0.18, 0.2), 0.5, 0.95),
        ring(grip, (0, 0, 0.07), 0.05, 0.03, rotation=ALONG_X),
    ]  # fmt: skip
    return parts, Words(
        ("paintbrush",),
        None,
        sized(n, 0.44, 0.51, "short", "long"),
        [(wet, "bristles|paint"), (grip, "handle")],
        pal.typical,
    )


def magnet(rng: random.Random) -> Built:
    """A horseshoe with pale tips, standing on its arch or on its tips."""
    pal = Palette(rng, glossy=0.5)
    body = pal.pick("red", "red", "blue")
    tip = pal.fixed("silver", "white") if body.name not in ("silver", "white") else pal.fixed("black")
    r, thick, leg = rng.uniform(0.3, 0.36), rng.uniform(0.11, 0.14), rng.uniform(0.16, 0.26)
    turn = rotation_from_euler(0, 0, 90)
    parts = [
        arc(body, (0, 0, 0), r, 90, thick, rotation=turn),
        *[rod(body, (0, s * r, 0), (0, s * r, -leg), thick) for s in (1, -1)],
        *pair(stump, tip, (0, r, -leg - 0.12), thick + 0.005, 0.14),
    ]  # fmt: skip
    return parts, Words(
        ("magnet",), body, pal.adjectives + sized(thick, 0.12, 0.13, "thin", "thick"), [(tip, "tips")], pal.typical
    )


def anchor(rng: random.Random) -> Built:
    """A shank with a ring, a cross bar, and two curved arms with flukes."""
    pal = Palette(rng, glossy=0.2)
    iron = pal.pick("black", "grey", "silver", "blue")
    h, r = rng.uniform(0.45, 0.55), rng.uniform(0.42, 0.5)
    parts = [
        rod(iron, (0, 0, 0.06), (0, 0, 2 * h), 0.085),
        ring(iron, (0, 0, 2 * h + 0.19), 0.13, 0.05, rotation=rotation_from_euler(0, 90, 0)),
        rod(iron, (0, -0.3, 1.65 * h), (0, 0.3, 1.65 * h), 0.07), *pair(ball, iron, (0, 0.32, 1.65 * h), 0.09),
        arc(iron, (0, 0, r + 0.06), r, 72, 0.085, rotation=rotation_from_euler(180, 0, 90), blend=0.05),
        *[wedge(iron, (0, s * r * 0.99, r + 0.02), (0.06, 0.15, 0.17), 1.0, 0.05, rotation=rotation_from_euler(s * 12, 0, 0)) for s in (1, -1)],
    ]  # fmt: skip
    return parts, Words(("anchor",), iron, pal.adjectives + sized(h, 0.48, 0.52, "short", "tall"), [], pal.typical)


def ladder(rng: random.Random) -> Built:
    """A step ladder: rungs between two rails, and two props behind."""
    pal = Palette(rng, glossy=0.1)
    rail = pal.pick("wooden", "silver", "yellow", also=("wooden",))
    step = rail if rng.random() < 0.5 else pal.pick("red", "grey", unlike=(rail,))
    n, w = rng.choice((3, 4, 5)), rng.uniform(0.28, 0.36)
    h = 0.3 * n + 0.2
    parts = []
    for s in (1, -1):
        parts += [
            rod(rail, (0.3, s * w, 0), (0, s * 0.75 * w, h), 0.055),
            rod(rail, (-0.34, s * w, 0), (0, s * 0.75 * w, h), 0.05),
        ]
    for k in range(n):
        z = 0.26 + 0.3 * k
        wide = w * (1 - 0.25 * z / h)
        parts.append(box(step, (0.3 * (1 - z / h), 0, z), (0.09, wide, 0.035)))
    parts.append(box(step, (0, 0, h), (0.14, 0.85 * w, 0.045)))
    words = sized(n, 4, 4, "short", "tall")
    return parts, Words(("ladder",), rail, words, [(step, "steps|rungs")] if step is not rail else [], pal.typical)
