"""Lights, clocks, devices and other small household items."""

from __future__ import annotations

import random

from sds3d.procedural.objects.shapes import ALONG_X, ALONG_Y, Built, around, ball, box, pair, ring, rod, stump
from sds3d.procedural.objects.vocabulary import Paint, Palette, Words, darker, glowing, sized
from sds3d.procedural.parts import rotation_from_euler


def lamp(rng: random.Random) -> Built:
    """A table or floor lamp: foot, post and a flared shade."""
    pal = Palette(rng)
    shade = pal.pick("yellow", "white", "beige")
    foot = pal.pick("black", "brown", "gold", unlike=(shade,))
    h, r, lip = rng.uniform(0.4, 1.0), rng.uniform(0.33, 0.42), rng.uniform(0.5, 0.75)
    if rng.random() < 0.2:
        shade = pal.patterned(shade, "stripes", 5.0, foot)
    parts = [
        stump(foot, (0, 0, 0.05), 0.26, 0.06, 0.7), stump(foot, (0, 0, h / 2), 0.055, h / 2 + 0.05),
        stump(shade, (0, 0, h + 0.2), r, 0.25, lip), ball(foot, (0, 0, h + 0.47), 0.06),
    ]  # fmt: skip
    if h < 0.6:
        parts.append(ball(foot, (0, 0, 0.22), (0.16, 0.16, 0.16)))
    nouns = ("lamp", "floor lamp") if h > 0.8 else ("lamp", "table lamp") if h < 0.6 else ("lamp",)
    details = [(shade, "shade|lampshade"), (foot, "base|foot")]
    return parts, Words(nouns, None, sized(h, 0.55, 0.8, "short", "tall"), details, pal.typical)


def candle(rng: random.Random) -> Built:
    """A candle with drips and a glowing flame, in a dish with a handle loop."""
    pal = Palette(rng, glossy=0.1)
    wax = pal.pick("white", "red", "beige")
    dish, h = pal.pick("gold", "bronze", "black", unlike=(wax,)), rng.uniform(0.25, 0.5)
    flame, dark = glowing(pal.fixed("orange", "yellow")), pal.fixed("black")
    parts = [
        stump(dish, (0, 0, 0.04), 0.36, 0.05, 1.2), ring(dish, (0, 0, 0.09), 0.42, 0.035),
        ring(dish, (-0.5, 0, 0.12), 0.12, 0.04, rotation=rotation_from_euler(90, 0, 0)),
        stump(wax, (0, 0, 0.08 + h), 0.17, h),
        *[rod(wax, (x, y, 2 * h + 0.05), (1.05 * x, 1.05 * y, 2 * h - 0.05 - 0.1 * k), 0.045, blend=0.02) for k, (x, y, _) in enumerate(around(4, 0.15))],
        rod(dark, (0, 0, 2 * h), (0, 0, 2 * h + 0.16), 0.025), ball(flame, (0, 0, 2 * h + 0.27), (0.09, 0.09, 0.12)),
        stump(flame, (0, 0, 2 * h + 0.4), 0.075, 0.1, 0.1),
    ]  # fmt: skip
    return parts, Words(
        ("candle",),
        wax,
        sized(h, 0.31, 0.43, "short", "tall"),
        [("glowing", "flame"), (dish, "holder|dish")],
        pal.typical,
    )


def light_bulb(rng: random.Random) -> Built:
    """A glowing bulb, screw down."""
    pal = Palette(rng, glossy=0.3)
    light = pal.pick("yellow", "yellow", "white")
    metal, r = (
        pal.fixed("silver", "gold" if light.name not in ("gold", "yellow", "orange") else "silver"),
        rng.uniform(0.36, 0.44),
    )
    lit = rng.random() < 0.75
    glass = glowing(light) if lit else light
    parts = [ball(glass, (0, 0, 0.75), r), stump(glass, (0, 0, 0.4), 0.17, 0.18, 1.75, rounding=0.0, blend=0.1)]
    parts += [
        stump(metal, (0, 0, 0.13), 0.16, 0.13),
        *[ring(metal, (0, 0, z), 0.155, 0.035) for z in (0.05, 0.14, 0.23)],
        ball(pal.fixed("black"), (0, 0, -0.01), (0.1, 0.1, 0.06)),
    ]
    return parts, Words(
        ("light bulb",), light, ["glowing"] if lit else pal.adjectives, [(metal, "screw|socket")], pal.typical
    )


def clock(rng: random.Random) -> Built:
    """A round alarm clock on two feet with two bells and hands on a white face."""
    pal = Palette(rng)
    body = pal.pick("red", "gold", "blue")
    face, dark = pal.fixed("white"), pal.fixed("black")
    bell = pal.pick("gold", "silver", unlike=(body,))
    parts = [
        stump(body, (0, 0, 0.5), 0.42, 0.16, rotation=ALONG_X),
        stump(face, (0.14, 0, 0.5), 0.34, 0.05, rotation=ALONG_X),
        rod(dark, (0.2, 0, 0.5), (0.2, 0, 0.74), 0.03), rod(dark, (0.2, 0, 0.5), (0.2, 0.15, 0.44), 0.035),
        *[rod(body, (0, s * 0.15, 0.25), (0, s * 0.33, 0.04), 0.06) for s in (1, -1)],
        *pair(ball, bell, (0, 0.27, 0.92), (0.14, 0.17, 0.13)), ball(body, (0, 0, 0.96), 0.07),
    ]  # fmt: skip
    return parts, Words(("clock", "alarm clock"), body, pal.adjectives, [(bell, "bells"), (face, "face")], pal.typical)


def hourglass(rng: random.Random) -> Built:
    """Two bulbs of sand between two plates and posts."""
    pal = Palette(rng, glossy=0.2)
    frame = pal.pick("wooden", "gold", "brown", also=("wooden",))
    sand = pal.pick("yellow", "blue", "red", "orange", unlike=(frame,))
    glass, h = (
        pal.fixed("white") if frame.name not in ("white", "silver") else pal.fixed("teal"),
        rng.uniform(0.42, 0.52),
    )
    if sand.name in ("white", glass.name):
        sand = pal.fixed("red" if frame.name != "red" else "blue")
    parts = [
        *[stump(frame, (0, 0, s * (h + 0.05)), 0.42, 0.06) for s in (1, -1)],
        *[rod(frame, (x, y, -h), (x, y, h), 0.045) for x, y, _ in around(3, 0.35, 60)],
        stump(sand, (0, 0, -0.74 * h), 0.28, 0.26 * h, 0.95, rounding=0.0),
        stump(glass, (0, 0, -0.24 * h), 0.265, 0.26 * h, 0.2, rounding=0.0),
        stump(sand, (0, 0, 0.24 * h), 0.05, 0.26 * h, 5.4, rounding=0.0),
        stump(glass, (0, 0, 0.74 * h), 0.27, 0.26 * h, 1.05, rounding=0.0),
    ]  # fmt: skip
    return parts, Words(
        ("hourglass",),
        None,
        sized(h, 0.45, 0.49, "short", "tall"),
        [(sand, "sand"), (frame, "posts|stand")],
        pal.typical,
    )


def television(rng: random.Random) -> Built:
    """A boxy set on legs with a screen, two knobs and a pair of antennas."""
    pal = Palette(rng, glossy=0.2)
    case = pal.pick("wooden", "brown", "red", also=("wooden",))
    knob, dark = pal.pick("silver", "gold", "white", unlike=(case,)), pal.fixed("black")
    lit = rng.random() < 0.4
    screen = (
        glowing(pal.fixed("teal", "blue"))
        if lit
        else pal.fixed("grey")
        if case.name not in ("grey", "silver", "stone")
        else dark
    )
    w, h = rng.uniform(0.46, 0.58), rng.uniform(0.3, 0.38)
    z = 0.2 + h
    parts = [
        box(case, (0, 0, z), (0.28, w, h), rounding=0.06),
        box(screen, (0.25, 0.12, z), (0.06, w - 0.2, h - 0.08), rounding=0.05),
        *[stump(knob, (0.28, 0.1 - w, z + dz), 0.055, 0.04, rotation=ALONG_X) for dz in (0.14, 0.0)],
        box(dark, (0.27, 0.1 - w, z - 0.17), (0.025, 0.055, 0.07)),
        *[rod(dark, (0.2 * x, 0.75 * y * w, 0.24), (0.24 * x, 0.85 * y * w, 0.03), 0.045) for x in (1, -1) for y in (1, -1)],
        *[rod(knob, (-0.05, s * 0.05, z + h), (-0.05, s * 0.3, z + h + 0.42), 0.025) for s in (1, -1)],
        ball(dark, (-0.05, 0, z + h), (0.1, 0.13, 0.07)),
    ]  # fmt: skip
    details: list[tuple[Paint | str, str]] = [(knob, "antennas|knobs"), ("glowing" if lit else screen, "screen")]
    return parts, Words(("television",), case, pal.adjectives, details, pal.typical)


def camera(rng: random.Random) -> Built:
    """A boxy camera with a lens in front, a finder, a flash and a shutter button."""
    pal = Palette(rng, glossy=0.2)
    body = pal.pick("black", "black", "brown", "red")
    metal = pal.pick("silver", "grey", unlike=(body,))
    glass, dark = pal.fixed("blue", "teal"), pal.fixed("black" if body.name != "black" else "grey")
    w = rng.uniform(0.5, 0.62)
    parts = [
        box(body, (0, 0, 0.34), (0.18, w, 0.3), rounding=0.05),
        box(metal, (0, 0, 0.64), (0.17, w - 0.01, 0.06), rounding=0.03),
        box(body, (0, 0, 0.76), (0.13, 0.18, 0.1), rounding=0.04),
        stump(metal, (0.26, 0, 0.34), 0.26, 0.1, rotation=ALONG_X),
        stump(dark, (0.38, 0, 0.34), 0.22, 0.09, rotation=ALONG_X), ball(glass, (0.45, 0, 0.34), (0.06, 0.16, 0.16)),
        box(pal.fixed("white"), (0.13, 0, 0.77), (0.025, 0.12, 0.055), rounding=0.01),
        stump(metal, (0, -0.66 * w, 0.73), 0.08, 0.05), stump(dark, (0, 0.66 * w, 0.72), 0.12, 0.045),
    ]  # fmt: skip
    return parts, Words(
        ("camera",), body, sized(w, 0.54, 0.58, "small", "wide"), [(metal, "trim|top"), (glass, "lens")], pal.typical
    )


def telescope(rng: random.Random) -> Built:
    """A tube of three lengths that looks up to the front, on a tripod."""
    pal = Palette(rng, glossy=0.4)
    tube = pal.pick("white", "blue", "black", "gold")
    trim, leg = pal.pick("gold", "black", "silver", unlike=(tube,)), pal.fixed("wooden", "black")
    lift, top = rng.uniform(20, 40), 0.86
    turn = rotation_from_euler(0, 90 - lift, 0)
    x, _, z = turn[:, 2].tolist()

    def along(t: float) -> tuple[float, float, float]:
        return (t * x, 0.0, top + t * z)

    parts = [
        stump(tube, along(0.2), 0.13, 0.4, 1.12, rotation=turn, rounding=0.0),
        stump(trim, along(0.62), 0.17, 0.06, rotation=turn), stump(tube, along(-0.36), 0.1, 0.18, rotation=turn),
        stump(trim, along(-0.2), 0.15, 0.04, rotation=turn), stump(trim, along(-0.57), 0.08, 0.08, rotation=turn),
        ball(pal.fixed("teal"), along(0.66), (0.15, 0.15, 0.04), rotation=turn),
        ball(leg, (0, 0, top - 0.15), 0.09),
        *[rod(leg, (0, 0, top - 0.12), (a, b, 0), 0.05) for a, b, _ in around(3, 0.45, 180)],
    ]  # fmt: skip
    return parts, Words(("telescope",), tube, pal.adjectives, [(trim, "rings"), (leg, "tripod|legs")], pal.typical)


def book(rng: random.Random) -> Built:
    """A closed book lying flat, with a band on its cover."""
    pal = Palette(rng, glossy=0.2)
    cover = pal.pick("red", "blue", "green", "brown")
    pages, band = pal.fixed("white"), pal.pick("gold", "white", "yellow", unlike=(cover,))
    w, d, h = rng.uniform(0.42, 0.5), rng.uniform(0.58, 0.7), rng.uniform(0.08, 0.2)
    parts = [
        box(pages, (0.02, 0, 0), (w - 0.03, d - 0.04, h), rounding=0.0),
        *[box(cover, (0, 0, s * (h + 0.02)), (w, d, 0.035), rounding=0.01) for s in (1, -1)],
        stump(cover, (-w, 0, 0), h + 0.05, d, rotation=ALONG_Y, rounding=0.01),
        box(band, (0.05, 0, h + 0.05), (0.6 * w, 0.2, 0.014), rounding=0.0),
    ]  # fmt: skip
    parts += pair(box, band, (-w, 0.7 * d, 0), (h + 0.06, 0.035, h + 0.06), rounding=0.03)
    return parts, Words(
        ("book",), cover, sized(h, 0.11, 0.17, "thin", "thick"), [(band, "title|bands"), (pages, "pages")], pal.typical
    )


def pencil(rng: random.Random) -> Built:
    """Upright, point up: a shaft, bare wood and a lead, a metal collar and an eraser."""
    pal = Palette(rng, glossy=0.4)
    paint = pal.pick("yellow", "yellow", "red", "blue", "green")
    lead = paint if rng.random() < 0.35 else pal.fixed("black")
    wood, metal, rubber = pal.fixed("beige"), pal.fixed("silver"), pal.fixed("pink")
    n = rng.uniform(0.5, 0.75)
    parts = [
        stump(paint, (0, 0, n), 0.13, n, rounding=0.0),
        stump(wood, (0, 0, 2 * n + 0.12), 0.128, 0.13, 0.35, rounding=0.0),
        stump(lead, (0, 0, 2 * n + 0.3), 0.05, 0.075, 0.15, rounding=0.0),
        stump(metal, (0, 0, -0.06), 0.135, 0.075), stump(rubber, (0, 0, -0.19), 0.12, 0.09, rounding=0.04),
    ]  # fmt: skip
    nouns = ("pencil", "crayon pencil") if lead is paint else ("pencil",)
    return parts, Words(
        nouns, paint, sized(n, 0.57, 0.69, "short", "long"), [(rubber, "eraser"), (lead, "tip|point")], pal.typical
    )


def key(rng: random.Random) -> Built:
    """Upright: a ring to hold, a shaft and two teeth."""
    pal = Palette(rng, glossy=0.3)
    metal, r = pal.pick("gold", "silver"), rng.uniform(0.22, 0.3)
    turn = rotation_from_euler(0, 90, 0)
    parts = [
        ring(metal, (0, 0, 1.1 + r), r, 0.09, rotation=turn), rod(metal, (0, 0, 0.1), (0, 0, 1.1), 0.085),
        ring(metal, (0, 0, 1.0), 0.11, 0.05),
        box(metal, (0, 0.17, 0.16), (0.06, 0.15, 0.07)), box(metal, (0, 0.14, 0.4), (0.06, 0.12, 0.07)),
    ]  # fmt: skip
    return parts, Words(("key",), metal, pal.adjectives, [], pal.typical)


def umbrella(rng: random.Random) -> Built:
    """An open canopy on a stick with a crook."""
    pal = Palette(rng, glossy=0.1)
    cloth = pal.pick("red", "blue", "black", "yellow")
    stick, second = pal.pick("black", "brown", unlike=(cloth,)), pal.pick("white", "yellow", unlike=(cloth,))
    tall, dotted = rng.uniform(0.34, 0.45), rng.random() < 0.25
    coat = pal.patterned(cloth, "dots", 3.0, second) if dotted else cloth
    parts = []
    for k, (low, high) in enumerate(((0.78, 0.68), (0.68, 0.45), (0.45, 0.06))):
        parts.append(
            stump(coat, (0, 0, 0.9 + tall * (0.2 + 0.39 * k - 0.05 * k * k)), low, 0.2 * tall, high / low, rounding=0.0)
        )
    parts += [
        stump(darker(cloth), (0, 0, 0.88), 0.7, 0.04), rod(stick, (0, 0, 0.1), (0, 0, 0.9 + 1.25 * tall), 0.05),
        rod(stick, (0, 0, 0.1), (0.08, 0, 0.0), 0.055), rod(stick, (0.08, 0, 0.0), (0.2, 0, 0.0), 0.055),
        rod(stick, (0.2, 0, 0.0), (0.27, 0, 0.12), 0.055),
    ]  # fmt: skip
    details = [(stick, "handle")] + ([(second, "dots")] if dotted else [])
    return parts, Words(("umbrella",), cloth, [], details, pal.typical)
