"""Toys and small things of every day."""

from __future__ import annotations

import random

from sds3d.procedural.objects.shapes import ALONG_X, ALONG_Y, around, ball, box, four, pair, ring, rod, stump, wedge
from sds3d.procedural.objects.vocabulary import Palette, Words, darker, glowing, sized
from sds3d.procedural.parts import Part, rotation_from_euler

Built = tuple[list[Part], Words]


def spinning_top(rng: random.Random) -> Built:
    """Two cones base to base, banded, with a stick to turn it by."""
    pal = Palette(rng, glossy=0.5)
    body = pal.pick("red", "blue", "green", "yellow")
    band = pal.pick("yellow", "white", "blue", unlike=(body,))
    stick, low, high = pal.fixed("wooden", "silver"), rng.uniform(0.26, 0.36), rng.uniform(0.12, 0.2)
    z = 2 * low
    parts = [
        stump(body, (0, 0, low), 0.07, low, 7.2, rounding=0.0), stump(band, (0, 0, z + 0.03), 0.52, 0.075, rounding=0.03), stump(body, (0, 0, z + 0.09 + high), 0.48, high, 0.3, rounding=0.0),
        ring(band, (0, 0, 0.95 * low), 0.29, 0.035), rod(stick, (0, 0, z), (0, 0, z + 2 * high + 0.38), 0.06), ball(stick, (0, 0, z + 2 * high + 0.42), 0.085),
    ]  # fmt: skip
    return parts, Words(("spinning top",), body, pal.adjectives, [(band, "stripe|rim")], pal.typical)


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


def pencil(rng: random.Random) -> Built:
    """Upright, point up: a shaft, bare wood and a lead, a metal collar and an eraser."""
    pal = Palette(rng, glossy=0.4)
    paint = pal.pick("yellow", "yellow", "red", "blue", "green")
    lead = paint if rng.random() < 0.35 else pal.fixed("black")
    wood, metal, rubber = pal.fixed("beige"), pal.fixed("silver"), pal.fixed("pink")
    n = rng.uniform(0.5, 0.75)
    parts = [
        stump(paint, (0, 0, n), 0.13, n, rounding=0.0), stump(wood, (0, 0, 2 * n + 0.12), 0.128, 0.13, 0.35, rounding=0.0), stump(lead, (0, 0, 2 * n + 0.3), 0.05, 0.075, 0.15, rounding=0.0),
        stump(metal, (0, 0, -0.06), 0.135, 0.075), stump(rubber, (0, 0, -0.19), 0.12, 0.09, rounding=0.04),
    ]  # fmt: skip
    nouns = ("pencil", "crayon pencil") if lead is paint else ("pencil",)
    return parts, Words(
        nouns, paint, sized(n, 0.57, 0.69, "short", "long"), [(rubber, "eraser"), (lead, "tip|point")], pal.typical
    )


def book(rng: random.Random) -> Built:
    """A closed book lying flat, with a band on its cover."""
    pal = Palette(rng, glossy=0.2)
    cover = pal.pick("red", "blue", "green", "brown")
    pages, band = pal.fixed("white"), pal.pick("gold", "white", "yellow", unlike=(cover,))
    w, d, h = rng.uniform(0.42, 0.5), rng.uniform(0.58, 0.7), rng.uniform(0.08, 0.2)
    parts = [
        box(pages, (0.02, 0, 0), (w - 0.03, d - 0.04, h), rounding=0.0), *[box(cover, (0, 0, s * (h + 0.02)), (w, d, 0.035), rounding=0.01) for s in (1, -1)],
        stump(cover, (-w, 0, 0), h + 0.05, d, rotation=ALONG_Y, rounding=0.01), box(band, (0.05, 0, h + 0.05), (0.6 * w, 0.2, 0.014), rounding=0.0),
    ]  # fmt: skip
    parts += pair(box, band, (-w, 0.7 * d, 0), (h + 0.06, 0.035, h + 0.06), rounding=0.03)
    return parts, Words(
        ("book",), cover, sized(h, 0.11, 0.17, "thin", "thick"), [(band, "title|bands"), (pages, "pages")], pal.typical
    )


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
        *[stump(frame, (0, 0, s * (h + 0.05)), 0.42, 0.06) for s in (1, -1)], *[rod(frame, (x, y, -h), (x, y, h), 0.045) for x, y, _ in around(3, 0.35, 60)],
        stump(sand, (0, 0, -0.74 * h), 0.28, 0.26 * h, 0.95, rounding=0.0), stump(glass, (0, 0, -0.24 * h), 0.265, 0.26 * h, 0.2, rounding=0.0),
        stump(sand, (0, 0, 0.24 * h), 0.05, 0.26 * h, 5.4, rounding=0.0), stump(glass, (0, 0, 0.74 * h), 0.27, 0.26 * h, 1.05, rounding=0.0),
    ]  # fmt: skip
    return parts, Words(
        ("hourglass",),
        None,
        sized(h, 0.45, 0.49, "short", "tall"),
        [(sand, "sand"), (frame, "posts|stand")],
        pal.typical,
    )


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


def candle(rng: random.Random) -> Built:
    """A candle with drips and a glowing flame, in a dish with a loop to carry it."""
    pal = Palette(rng, glossy=0.1)
    wax = pal.pick("white", "red", "beige")
    dish, h = pal.pick("gold", "bronze", "black", unlike=(wax,)), rng.uniform(0.25, 0.5)
    flame, dark = glowing(pal.fixed("orange", "yellow")), pal.fixed("black")
    parts = [
        stump(dish, (0, 0, 0.04), 0.36, 0.05, 1.2), ring(dish, (0, 0, 0.09), 0.42, 0.035), ring(dish, (-0.5, 0, 0.12), 0.12, 0.04, rotation=rotation_from_euler(90, 0, 0)),
        stump(wax, (0, 0, 0.08 + h), 0.17, h), *[rod(wax, (x, y, 2 * h + 0.05), (1.05 * x, 1.05 * y, 2 * h - 0.05 - 0.1 * k), 0.045, blend=0.02) for k, (x, y, _) in enumerate(around(4, 0.15))],
        rod(dark, (0, 0, 2 * h), (0, 0, 2 * h + 0.16), 0.025), ball(flame, (0, 0, 2 * h + 0.27), (0.09, 0.09, 0.12)), stump(flame, (0, 0, 2 * h + 0.4), 0.075, 0.1, 0.1),
    ]  # fmt: skip
    return parts, Words(
        ("candle",),
        wax,
        sized(h, 0.31, 0.43, "short", "tall"),
        [("glowing", "flame"), (dish, "holder|dish")],
        pal.typical,
    )


def camera(rng: random.Random) -> Built:
    """A boxy camera with a lens in front, a finder, a flash and a shutter button."""
    pal = Palette(rng, glossy=0.2)
    body = pal.pick("black", "black", "brown", "red")
    metal = pal.pick("silver", "grey", unlike=(body,))
    glass, dark = pal.fixed("blue", "teal"), pal.fixed("black" if body.name != "black" else "grey")
    w = rng.uniform(0.5, 0.62)
    parts = [
        box(body, (0, 0, 0.34), (0.18, w, 0.3), rounding=0.05), box(metal, (0, 0, 0.64), (0.17, w - 0.01, 0.06), rounding=0.03), box(body, (0, 0, 0.76), (0.13, 0.18, 0.1), rounding=0.04),
        stump(metal, (0.26, 0, 0.34), 0.26, 0.1, rotation=ALONG_X), stump(dark, (0.38, 0, 0.34), 0.22, 0.09, rotation=ALONG_X), ball(glass, (0.45, 0, 0.34), (0.06, 0.16, 0.16)),
        box(pal.fixed("white"), (0.13, 0, 0.77), (0.025, 0.12, 0.055), rounding=0.01), stump(metal, (0, -0.66 * w, 0.73), 0.08, 0.05), stump(dark, (0, 0.66 * w, 0.72), 0.12, 0.045),
    ]  # fmt: skip
    return parts, Words(
        ("camera",), body, sized(w, 0.54, 0.58, "small", "wide"), [(metal, "trim|top"), (glass, "lens")], pal.typical
    )


def mailbox(rng: random.Random) -> Built:
    """A rounded box on a post with a flag and a door."""
    pal = Palette(rng, glossy=0.3)
    body = pal.pick("red", "blue", "grey", "white")
    flag = pal.pick("red", "yellow", unlike=(body,))
    post, h = pal.pick("wooden", "brown", unlike=(body, flag), also=("wooden",)), rng.uniform(0.32, 0.5)
    z, trim = 2 * h, darker(body)
    parts = [
        box(post, (0, 0, h), (0.08, 0.08, h)), box(post, (0, 0, 0.04), (0.2, 0.2, 0.05)), box(body, (0, 0, z + 0.12), (0.46, 0.24, 0.14), rounding=0.02),
        stump(body, (0, 0, z + 0.26), 0.24, 0.46, rotation=ALONG_X, rounding=0.02), stump(trim, (0.45, 0, z + 0.25), 0.2, 0.03, rotation=ALONG_X), box(trim, (0.45, 0, z + 0.14), (0.03, 0.2, 0.1), rounding=0.0),
        ball(flag, (0.49, 0, z + 0.3), 0.045), rod(flag, (0.05, 0.26, z + 0.22), (0.05, 0.26, z + 0.62), 0.035), box(flag, (-0.06, 0.26, z + 0.58), (0.13, 0.03, 0.08), rounding=0.01),
    ]  # fmt: skip
    return parts, Words(
        ("mailbox",),
        body,
        pal.adjectives + sized(h, 0.37, 0.45, "short", "tall"),
        [(flag, "little flag"), (post, "post")],
        pal.typical,
    )


def traffic_light(rng: random.Random) -> Built:
    """A box with a red, a yellow and a green lamp, one or all of them lit, on a pole."""
    pal = Palette(rng, glossy=0.1)
    case = pal.pick("black", "grey", "yellow")
    pole, h = pal.fixed("grey") if case.name not in ("grey", "silver") else pal.fixed("black"), rng.uniform(0.3, 0.5)
    lit = rng.choice(("red", "yellow", "green"))
    parts = [
        stump(pole, (0, 0, h), 0.07, h),
        stump(pole, (0, 0, 0.04), 0.24, 0.05, 0.8),
        box(case, (0, 0, 2 * h + 0.46), (0.16, 0.21, 0.5), rounding=0.05),
    ]
    for k, name in enumerate(("green", "yellow", "red")):
        z = 2 * h + 0.15 + 0.31 * k
        lamp = pal.fixed(name)
        parts += [
            ball(glowing(lamp) if name == lit else darker(lamp, 0.45), (0.15, 0, z), (0.07, 0.125, 0.125)),
            box(case, (0.2, 0, z + 0.13), (0.1, 0.13, 0.02)),
        ]
    return parts, Words(
        ("traffic light",),
        case,
        sized(h, 0.35, 0.45, "short", "tall"),
        [(f"glowing {lit}", "lamp"), (pole, "pole|post")],
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


def bowling_pin(rng: random.Random) -> Built:
    """A club with two stripes around its neck."""
    pal = Palette(rng, glossy=0.6)
    body = pal.pick("white")
    band, fat = pal.pick("red", "blue", unlike=(body,)), rng.uniform(0.27, 0.34)
    parts = [
        ball(body, (0, 0, 0.45), (fat, fat, 0.46)), stump(body, (0, 0, 0.08), 0.17, 0.08, 1.2), rod(body, (0, 0, 0.6), (0, 0, 1.12), 0.21, taper=0.62, blend=0.12), ball(body, (0, 0, 1.22), (0.165, 0.165, 0.19), blend=0.06),
        *[ring(band, (0, 0, z), 0.115 + 0.01 * k, 0.045) for k, z in enumerate((1.06, 0.96))],
    ]  # fmt: skip
    return parts, Words(
        ("bowling pin",),
        body,
        pal.adjectives + sized(fat, 0.29, 0.32, "thin", "fat"),
        [(band, "stripes|bands")],
        pal.typical,
    )


def chess_pawn(rng: random.Random) -> Built:
    """A turned foot, a tapering body, a collar and a ball."""
    pal = Palette(rng, glossy=0.5)
    wood = pal.pick("black", "white", "wooden", "beige", also=("wooden", "stone"))
    wood = wood._replace(pattern="plain")
    h, wide = rng.uniform(0.3, 0.4), rng.uniform(0.34, 0.4)
    parts = [
        stump(wood, (0, 0, 0.06), wide, 0.07), ring(wood, (0, 0, 0.16), 0.78 * wide, 0.075), stump(wood, (0, 0, 0.16 + h), 0.75 * wide, h, 0.42, rounding=0.0, blend=0.05),
        stump(wood, (0, 0, 0.18 + 2 * h), 0.24, 0.045), ball(wood, (0, 0, 0.36 + 2 * h), 0.215, blend=0.03),
    ]  # fmt: skip
    return parts, Words(("chess pawn",), wood, pal.adjectives + sized(h, 0.33, 0.37, "short", "tall"), [], pal.typical)


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
        stump(tube, along(0.2), 0.13, 0.4, 1.12, rotation=turn, rounding=0.0), stump(trim, along(0.62), 0.17, 0.06, rotation=turn), stump(tube, along(-0.36), 0.1, 0.18, rotation=turn),
        stump(trim, along(-0.2), 0.15, 0.04, rotation=turn), stump(trim, along(-0.57), 0.08, 0.08, rotation=turn), ball(pal.fixed("teal"), along(0.66), (0.15, 0.15, 0.04), rotation=turn),
        ball(leg, (0, 0, top - 0.15), 0.09), *[rod(leg, (0, 0, top - 0.12), (a, b, 0), 0.05) for a, b, _ in around(3, 0.45, 180)],
    ]  # fmt: skip
    return parts, Words(("telescope",), tube, pal.adjectives, [(trim, "rings"), (leg, "tripod|legs")], pal.typical)


def yo_yo(rng: random.Random) -> Built:
    """Two discs on an axle, standing on edge, with a string that ends in a loop."""
    pal = Palette(rng, glossy=0.5)
    body = pal.pick("red", "blue", "green", "yellow")
    cap, string = pal.pick("white", "yellow", "gold", unlike=(body,)), pal.fixed("white")
    thick = rng.uniform(0.11, 0.16)
    parts = [
        *pair(stump, body, (0, thick + 0.035, 0.45), 0.42, thick, rotation=ALONG_Y, rounding=0.07), stump(string, (0, 0, 0.45), 0.2, 0.06, rotation=ALONG_Y),
        *pair(stump, cap, (0, 2 * thick + 0.03, 0.45), 0.2, 0.03, rotation=ALONG_Y), rod(string, (0.17, 0, 0.5), (0.19, 0, 1.25), 0.03), ring(string, (0.19, 0, 1.35), 0.1, 0.03, rotation=rotation_from_euler(90, 0, 0)),
    ]  # fmt: skip
    return parts, Words(
        ("yo-yo",),
        body,
        pal.adjectives + sized(thick, 0.125, 0.145, "thin", "thick"),
        [(cap, "cap|center"), (string, "string")],
        pal.typical,
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
