"""Vehicles of land, water and air; their front is +x."""

from __future__ import annotations

import math
import random

from sds3d.procedural.objects.shapes import (
    ALONG_X,
    ALONG_Y,
    Built,
    arc,
    around,
    axles,
    ball,
    box,
    pair,
    ring,
    rod,
    stump,
    wedge,
)
from sds3d.procedural.objects.vocabulary import Paint, Palette, Words, darker, glowing, sized
from sds3d.procedural.parts import Part, Pattern, rotation_from_euler


def car(rng: random.Random) -> Built:
    """A sedan: body, cabin with windows, wheels, lights and bumpers."""
    pal = Palette(rng, glossy=0.6)
    body, glass = (
        pal.pick("red", "blue", "white", "grey"),
        pal.fixed("black", "blue" if rng.random() < 0.3 else "black"),
    )
    roof = body if rng.random() < 0.7 else pal.pick("white", "black", unlike=(body,))
    tire, hub, lamp, back = pal.fixed("black"), pal.fixed("silver"), pal.fixed("yellow", "white"), pal.fixed("red")
    n, w = rng.uniform(0.8, 1.0), rng.uniform(0.36, 0.42)
    shift = rng.uniform(-0.16, -0.06)
    parts = [
        box(body, (0, 0, 0.3), (n, w, 0.17), rounding=0.09),
        box(glass, (shift, 0, 0.54), (0.5, w - 0.04, 0.15), rounding=0.06),
        box(roof, (shift, 0, 0.68), (0.44, w - 0.05, 0.05), rounding=0.04),
        box(roof, (shift, 0, 0.54), (0.06, w - 0.025, 0.16)),
        *axles(tire, hub, (-0.55 * n, 0.58 * n), w - 0.03, 0.17, 0.19),
        *pair(ball, lamp, (n - 0.03, 0.6 * w, 0.34), (0.06, 0.09, 0.08)),
        *pair(box, back, (0.03 - n, 0.6 * w, 0.36), (0.05, 0.09, 0.05)),
        box(hub, (n - 0.02, 0, 0.19), (0.06, w - 0.04, 0.05)),
    ]  # fmt: skip
    details = (
        [(tire, "wheels|wheels|tires|tyres")] + ([(roof, "roof")] if roof is not body else []) + [(lamp, "headlights")]
    )
    return parts, Words(
        ("car", "car", "taxi") if body.name == "yellow" else ("car",),
        body,
        pal.adjectives + sized(n, 0.84, 0.96, "small", "long"),
        details,
        pal.typical,
    )


def truck(rng: random.Random) -> Built:
    """A cab in front and a box, an open bed or a tank behind."""
    pal = Palette(rng, glossy=0.5)
    cab = pal.pick("red", "blue", "green", "white")
    load = pal.pick("white", "grey", "yellow", unlike=(cab,))
    glass, tire, hub, lamp = pal.fixed("black"), pal.fixed("black"), pal.fixed("silver"), pal.fixed("yellow")
    n = rng.uniform(0.5, 0.7)
    parts = [
        box(tire, (0, 0, 0.26), (n + 0.3, 0.26, 0.07)),
        box(cab, (n + 0.08, 0, 0.52), (0.25, 0.36, 0.32), rounding=0.06),
        box(glass, (n + 0.19, 0, 0.66), (0.16, 0.31, 0.11)), box(glass, (n + 0.1, 0, 0.66), (0.14, 0.375, 0.11)),
        *axles(tire, hub, (n + 0.05, -0.05, -n), 0.34, 0.2, 0.2), *pair(ball, lamp, (n + 0.33, 0.24, 0.36), 0.06),
    ]  # fmt: skip
    kind = rng.choice(("box", "tank", "dump"))
    if kind == "box":
        parts.append(box(load, (-0.24, 0, 0.68), (n - 0.02, 0.38, 0.4), rounding=0.03))
    elif kind == "tank":
        parts.append(stump(load, (-0.24, 0, 0.62), 0.35, n - 0.02, rotation=ALONG_X))
    else:
        parts += [
            box(load, (-0.24, 0, 0.5), (n - 0.02, 0.38, 0.24)),
            box(tire, (-0.24, 0, 0.72), (n - 0.1, 0.3, 0.2), cut=True),
        ]
    part = {"box": "cargo box", "tank": "tank", "dump": "bed"}[kind]
    nouns = {"box": ("truck", "delivery truck"), "tank": ("truck", "tanker truck"), "dump": ("truck", "dump truck")}[
        kind
    ]
    return parts, Words(nouns, None, pal.adjectives, [(cab, "cab|cabin"), (load, part)], pal.typical)


def bus(rng: random.Random) -> Built:
    """A long body with a band of windows between pillars."""
    pal = Palette(rng, glossy=0.4)
    body = pal.pick("yellow", "red")
    stripe = pal.pick("black", "white", unlike=(body,))
    glass, tire, hub, lamp = pal.fixed("black"), pal.fixed("black"), pal.fixed("silver"), pal.fixed("white")
    n, h = rng.uniform(0.85, 1.05), rng.uniform(0.34, 0.42)
    z = 0.2 + h
    parts = [
        box(body, (0, 0, z), (n, 0.35, h), rounding=0.07),
        box(glass, (0.02, 0, z + 0.35 * h), (n, 0.36, 0.3 * h), rounding=0.02),
        *[box(body, (n * x, 0, z + 0.35 * h), (0.045, 0.37, 0.33 * h), rounding=0.0) for x in (-0.97, -0.5, -0.1, 0.3, 0.7)],
        box(stripe, (0, 0, z - 0.3 * h), (n + 0.005, 0.365, 0.045), rounding=0.0),
        *axles(tire, hub, (-0.58 * n, 0.6 * n), 0.33, 0.2, 0.2), *pair(ball, lamp, (n, 0.24, z - 0.55 * h), 0.06),
    ]  # fmt: skip
    nouns = ("bus", "school bus") if body.name == "yellow" else ("bus",)
    return parts, Words(nouns, body, pal.adjectives, [(stripe, "stripe"), (tire, "wheels")], pal.typical)


def train(rng: random.Random) -> Built:
    """A steam locomotive: boiler, chimney, dome, cab and cowcatcher."""
    pal = Palette(rng, glossy=0.5)
    boiler = pal.pick("black", "green", "red", "blue")
    cab = boiler if rng.random() < 0.4 else pal.pick("red", "blue", "green", unlike=(boiler,))
    trim, hub = pal.pick("gold", "red", unlike=(boiler, cab)), pal.fixed("silver")
    dark = pal.fixed("black")
    n = rng.uniform(0.5, 0.65)
    parts = [
        box(dark, (0, 0, 0.3), (n + 0.28, 0.28, 0.07)), stump(boiler, (0.2, 0, 0.58), 0.28, n, rotation=ALONG_X),
        ball(dark, (0.2 + n, 0, 0.58), (0.1, 0.22, 0.22)), box(cab, (-n, 0, 0.72), (0.24, 0.34, 0.4)),
        box(trim, (-n, 0, 1.13), (0.32, 0.4, 0.055)), box(dark, (-n, 0, 0.88), (0.13, 0.36, 0.13)),
        stump(boiler, (n, 0, 0.95), 0.09, 0.18, 1.5), ring(trim, (n, 0, 1.11), 0.12, 0.045),
        ball(trim, (0.1, 0, 0.86), (0.13, 0.13, 0.14)), ring(trim, (n - 0.15, 0, 0.58), 0.27, 0.04, rotation=ALONG_X),
        box(trim, (n + 0.28, 0, 0.2), (0.1, 0.3, 0.14), rotation=rotation_from_euler(0, 25, 0)),
        *axles(trim, hub, (-n, 0.0, n - 0.05), 0.3, 0.2, 0.21),
    ]  # fmt: skip
    details = [(cab, "cab"), (trim, "roof|wheels"), (boiler, "chimney")]
    return parts, Words(("train",), boiler, pal.adjectives, details, pal.typical)


def tractor(rng: random.Random) -> Built:
    """Large wheels behind, small ones in front, a hood, a cab with a roof and an exhaust."""
    pal = Palette(rng, glossy=0.3)
    body = pal.pick("green", "red", "blue")
    hub = pal.pick("yellow", "white", "red", unlike=(body,))
    tire, glass, dark = pal.fixed("black"), pal.fixed("teal", "blue"), pal.fixed("grey")
    n = rng.uniform(0.36, 0.46)
    parts = [
        box(body, (0.34, 0, 0.52), (n, 0.19, 0.2), rounding=0.05), box(glass, (-0.3, 0, 0.86), (0.24, 0.24, 0.26)),
        box(body, (-0.3, 0, 0.55), (0.28, 0.26, 0.18)), box(body, (-0.3, 0, 1.15), (0.33, 0.3, 0.05)),
        *[rod(body, (-0.3 + x, s * 0.25, 0.65), (-0.3 + x, s * 0.25, 1.13), 0.035) for x in (-0.24, 0.24) for s in (1, -1)],
        *axles(tire, hub, (-0.34,), 0.36, 0.4, 0.4), *axles(tire, hub, (0.22 + n,), 0.26, 0.2, 0.2),
        rod(dark, (0.42, 0, 0.7), (0.42, 0, 1.05), 0.045), box(dark, (0.22 + n, 0, 0.27), (0.08, 0.12, 0.1)),
        *pair(ball, hub, (0.33 + n, 0.11, 0.58), 0.05),
        *[arc(body, (-0.34, s * 0.36, 0.4), 0.47, 62, 0.06) for s in (1, -1)],
    ]  # fmt: skip
    return parts, Words(("tractor",), body, pal.adjectives, [(hub, "wheel hubs"), (tire, "wheels|tires")], pal.typical)


def bicycle(rng: random.Random) -> Built:
    """Two spoked wheels, a frame of tubes, a saddle, handlebars and pedals."""
    pal = Palette(rng, glossy=0.4)
    frame = pal.pick("red", "blue", "black", "green")
    tire, metal = pal.fixed("black") if frame.name != "black" else pal.fixed("grey"), pal.fixed("silver")
    seat, r = pal.pick("brown", "black", unlike=(frame,)), rng.uniform(0.34, 0.38)
    turn, back, front = rotation_from_euler(90, 0, 0), -0.56, 0.6
    hub, crank, head, post = r + 0.05, (-0.05, 0.0, 0.34), (0.42, 0.0, 0.92), (-0.22, 0.0, 0.92)
    parts = [
        *[ring(tire, (x, 0, hub), r, 0.055, rotation=turn) for x in (back, front)],
        *[rod(metal, (x - r * c, 0, hub - r * s), (x + r * c, 0, hub + r * s), 0.018) for x in (back, front) for c, s in ((1, 0), (0, 1))],
        rod(frame, (back, 0, hub), crank, 0.045), rod(frame, (back, 0, hub), (-0.19, 0, 0.82), 0.045),
        rod(frame, crank, post, 0.05), rod(frame, crank, (0.44, 0, 0.82), 0.05),
        rod(frame, (-0.19, 0, 0.82), head, 0.05),
        rod(frame, head, (front, 0, hub), 0.045), rod(metal, head, (0.38, 0, 1.08), 0.04),
        rod(metal, (0.38, -0.26, 1.1), (0.38, 0.26, 1.1), 0.04),
        *[rod(tire, (0.38, s * 0.25, 1.1), (0.24, s * 0.27, 1.1), 0.05) for s in (1, -1)],
        ball(seat, (-0.25, 0, 0.98), (0.19, 0.1, 0.06)),
        ring(metal, crank, 0.1, 0.025, rotation=turn), rod(metal, (-0.05, 0.12, 0.34), (0.06, 0.12, 0.2), 0.025),
        rod(metal, (-0.05, -0.12, 0.34), (-0.16, -0.12, 0.48), 0.025),
        rod(metal, (-0.05, -0.12, 0.34), (-0.05, 0.12, 0.34), 0.03),
        box(tire, (0.06, 0.16, 0.2), (0.06, 0.06, 0.025)), box(tire, (-0.16, -0.16, 0.48), (0.06, 0.06, 0.025)),
    ]  # fmt: skip
    return parts, Words(
        ("bicycle",), frame, pal.adjectives, [(tire, "wheels|tires"), (seat, "seat|saddle")], pal.typical
    )


def skateboard(rng: random.Random) -> Built:
    """A board with raised ends on four wheels."""
    pal = Palette(rng, glossy=0.3)
    deck = pal.pick("wooden", "red", "blue", "black", also=("wooden",))
    wheel, metal = pal.pick("red", "white", "yellow", "green", unlike=(deck,)), pal.fixed("silver")
    n, w = rng.uniform(0.5, 0.65), rng.uniform(0.19, 0.24)
    parts = [
        box(deck, (0, 0, 0.25), (n, w, 0.035), rounding=0.03),
        *[box(deck, (s * (n + 0.1), 0, 0.28), (0.15, w, 0.035), rounding=0.03, rotation=rotation_from_euler(0, -s * 22, 0)) for s in (1, -1)],
        *[stump(deck, (s * (n + 0.22), 0, 0.33), w, 0.035, rotation=rotation_from_euler(0, -s * 22, 0)) for s in (1, -1)],
        *[box(metal, (s * 0.7 * n, 0, 0.18), (0.07, 0.12, 0.06)) for s in (1, -1)],
        *[stump(wheel, (s * 0.7 * n, t * 0.19, 0.1), 0.1, 0.06, rotation=ALONG_Y) for s in (1, -1) for t in (1, -1)],
        *[rod(metal, (s * 0.7 * n, -0.2, 0.1), (s * 0.7 * n, 0.2, 0.1), 0.035) for s in (1, -1)],
    ]  # fmt: skip
    return parts, Words(
        ("skateboard",), deck, pal.adjectives + sized(n, 0.54, 0.61, "short", "long"), [(wheel, "wheels")], pal.typical
    )


def wheelbarrow(rng: random.Random) -> Built:
    """A tray on one wheel in front, with two handles and two legs; empty or full of soil."""
    pal = Palette(rng, glossy=0.2)
    tray = pal.pick("green", "red", "grey", "blue")
    pole = pal.pick("wooden", "black", unlike=(tray,), also=("wooden",))
    tire, hub, soil = pal.fixed("black"), pal.fixed("silver"), pal.fixed("brown")
    full, w = rng.random() < 0.5, rng.uniform(0.32, 0.4)
    parts = [
        wedge(tray, (0.05, 0, 0.52), (0.36, 0.7 * w, 0.19), 1.35, 1.4),
        wedge(darker(tray), (0.05, 0, 0.58), (0.3, 0.6 * w, 0.18), 1.4, 1.45, cut=True),
        stump(tire, (0.6, 0, 0.21), 0.2, 0.07, rotation=ALONG_Y),
        stump(hub, (0.6, 0, 0.21), 0.09, 0.085, rotation=ALONG_Y),
        *[rod(pole, (0.62, s * 0.12, 0.21), (-0.9, s * 0.34, 0.48), 0.045) for s in (1, -1)],
        *[rod(pole, (-0.22, s * 0.24, 0.34), (-0.3, s * 0.28, 0.04), 0.045) for s in (1, -1)],
    ]  # fmt: skip
    if full:
        parts[1] = ball(soil, (0.05, 0, 0.68), (0.42, 0.9 * w, 0.17))
    details = [(pole, "handles"), (tire, "wheel")] + ([("", "soil")] if full else [])
    return parts, Words(("wheelbarrow",), tray, sized(w, 0.34, 0.38, "narrow", "wide"), details, pal.typical)


def airplane(rng: random.Random) -> Built:
    """A plump airliner, or a propeller plane."""
    pal = Palette(rng, glossy=0.4)
    body = pal.pick("white", "silver", "red")
    wing = body if rng.random() < 0.4 else pal.pick("blue", "red", "grey", unlike=(body,))
    glass, n, span = pal.fixed("black"), rng.uniform(0.8, 1.0), rng.uniform(0.75, 1.0)
    parts = [
        ball(body, (0, 0, 0), (n, 0.19, 0.2)),
        ball(glass, (0.6 * n, 0, 0.1), (0.16, 0.12, 0.09)),
        *[
            box(
                wing, (-0.02, s * span / 2, -0.04), (0.17, span / 2, 0.045), rotation=rotation_from_euler(0, 0, -s * 16)
            )
            for s in (1, -1)
        ],
        *[
            box(wing, (-0.85 * n, s * 0.2, 0.06), (0.1, 0.22, 0.04), rotation=rotation_from_euler(0, 0, -s * 18))
            for s in (1, -1)
        ],
        box(wing, (-0.86 * n, 0, 0.22), (0.13, 0.04, 0.22), rotation=rotation_from_euler(0, -22, 0)),
    ]
    details = [(wing, "wings|wings|tail")]
    if rng.random() < 0.5:
        engine = pal.pick("grey", "silver", "red", unlike=(body,))
        parts += pair(stump, engine, (0.12, 0.42 * span, -0.13), 0.09, 0.17, rotation=ALONG_X)
        details.append((engine, "engines"))
        nouns = ("airplane", "airplane", "airliner")
    else:
        nose = pal.pick("red", "yellow", "black", unlike=(body,))
        parts += [
            stump(nose, (n - 0.03, 0, 0), 0.12, 0.1, 0.5, rotation=ALONG_X),
            box(nose, (n + 0.03, 0, 0), (0.035, 0.05, 0.36)),
        ]
        details.append((nose, "propeller"))
        nouns = ("airplane", "airplane", "propeller plane")
    return parts, Words(nouns, body, pal.adjectives, details, pal.typical)


def helicopter(rng: random.Random) -> Built:
    """A round cabin with a glass front, a tail boom, a rotor above, a tail rotor and skids."""
    pal = Palette(rng, glossy=0.4)
    body = pal.pick("red", "blue", "yellow", "green")
    rotor = pal.pick("black", "grey", unlike=(body,))
    glass, spin, n = (
        pal.fixed("teal", "black") if body.name not in ("teal", "black") else pal.fixed("blue"),
        rng.uniform(0, 90),
        rng.uniform(0.7, 0.9),
    )
    parts = [
        ball(body, (0.1, 0, 0.5), (0.44, 0.3, 0.32)), ball(glass, (0.3, 0, 0.55), (0.27, 0.25, 0.22)),
        rod(body, (-0.2, 0, 0.58), (-0.95, 0, 0.66), 0.16, taper=0.45, blend=0.1),
        box(body, (-0.96, 0, 0.78), (0.1, 0.035, 0.18), rotation=rotation_from_euler(0, -20, 0)),
        box(rotor, (-0.95, 0.08, 0.74), (0.035, 0.025, 0.2), rotation=rotation_from_euler(0, spin, 0)),
        stump(rotor, (0.05, 0, 0.88), 0.07, 0.12), ball(rotor, (0.05, 0, 0.98), (0.1, 0.1, 0.06)),
        *[box(rotor, (0.05, 0, 0.98), (n, 0.065, 0.025), rotation=rotation_from_euler(0, 0, spin + a)) for a in (0, 90)],
        *[rod(rotor, (-0.32, s * 0.26, 0.05), (0.5, s * 0.26, 0.05), 0.045) for s in (1, -1)],
        *[rod(rotor, (x, s * 0.14, 0.3), (x, s * 0.26, 0.06), 0.04) for x in (-0.1, 0.26) for s in (1, -1)],
    ]  # fmt: skip
    return parts, Words(
        ("helicopter",), body, pal.adjectives, [(rotor, "rotor|skids"), (glass, "windshield")], pal.typical
    )


def rocket(rng: random.Random) -> Built:
    """An upright rocket with a nose cone, portholes and fins."""
    pal = Palette(rng, glossy=0.5)
    body = pal.pick("white", "silver")
    nose = pal.pick("red", "blue", "orange", unlike=(body,))
    fins = nose if rng.random() < 0.6 else pal.pick("blue", "yellow", unlike=(body, nose))
    glass, dark, h, n = pal.fixed("blue", "teal"), pal.fixed("grey"), rng.uniform(0.5, 0.8), rng.choice((3, 4))
    r = rng.uniform(0.22, 0.3)
    parts = [
        stump(body, (0, 0, h), r, h - 0.12), stump(nose, (0, 0, 2 * h + 0.06), r + 0.01, 0.22, 0.08),
        stump(dark, (0, 0, 0.06), 0.24, 0.1, 0.6), ring(nose, (0, 0, 0.35), r, 0.045),
        stump(dark, (0, 0, 1.5 * h), 0.13, r + 0.03, rotation=ALONG_X),
        stump(glass, (0, 0, 1.5 * h), 0.085, r + 0.05, rotation=ALONG_X),
    ]  # fmt: skip
    for k in range(n):
        a = 2 * math.pi * (k + 0.5) / n
        c, s = math.cos(a), math.sin(a)
        turn = rotation_from_euler(0, 32, math.degrees(a))
        parts.append(box(fins, ((r + 0.07) * c, (r + 0.07) * s, 0.15), (0.14, 0.045, 0.25), rotation=turn))
    words = pal.adjectives + sized(h, 0.57, 0.72, "short", "tall")
    return parts, Words(
        ("rocket",),
        body,
        words,
        [(nose, "nose|nose cone|tip"), (fins, "fins"), (glass, "windows|portholes")],
        pal.typical,
    )


def balloon(rng: random.Random) -> Built:
    """A hot air balloon: an envelope of two colors, ropes and a basket."""
    pal = Palette(rng, glossy=0.1)
    cloth = pal.pick("red", "yellow", "blue")
    second = pal.pick("white", "yellow", unlike=(cloth,))
    pattern: Pattern = rng.choice(("stripes", "checks", "plain"))
    coat = pal.patterned(cloth, pattern, 2.4, second) if pattern != "plain" else cloth
    basket = pal.fixed("wooden")
    parts = [
        ball(coat, (0, 0, 1.1), 0.56), stump(coat, (0, 0, 0.6), 0.2, 0.24, 2.15, rounding=0.0),
        box(basket, (0, 0, 0.1), (0.17, 0.17, 0.13)),
        *[rod(basket, (x * 0.14, y * 0.14, 0.15), (x * 0.15, y * 0.15, 0.5), 0.035) for x in (1, -1) for y in (1, -1)],
        ring(second, (0, 0, 0.37), 0.2, 0.04),
    ]  # fmt: skip
    details = [(basket, "basket")] + ([(second, pattern)] if pattern != "plain" else [])
    return parts, Words(("hot air balloon",), cloth, [], details, pal.typical)


def ufo(rng: random.Random) -> Built:
    """A lens-shaped hull with a glass dome and glowing lights around its rim."""
    pal = Palette(rng, glossy=0.4)
    hull = pal.pick("silver", "silver", "grey")
    dome, light = pal.pick("teal", "blue", "green", unlike=(hull,)), pal.pick("yellow", "red", "green", unlike=(hull,))
    flat, n = rng.uniform(0.16, 0.24), rng.choice((6, 8, 10))
    parts = [
        ball(hull, (0, 0, 0), (0.8, 0.8, flat)), ring(hull, (0, 0, 0), 0.7, 0.085),
        ball(dome, (0, 0, 0.7 * flat), (0.36, 0.36, 0.34)), ring(hull, (0, 0, flat - 0.02), 0.36, 0.05),
        stump(hull, (0, 0, -flat), 0.24, 0.06, 1.3),
        *[ball(glowing(light), (x, y, 0.03), 0.085) for x, y, _ in around(n, 0.72)],
    ]  # fmt: skip
    return parts, Words(
        ("alien spaceship", "ufo"), hull, [], [(dome, "dome"), (f"glowing {light.words[0]}", "lights")], pal.typical
    )


def _sail(paint: Paint, foot: float, top: float, low: float, high: float) -> list[Part]:
    """A triangle: a board from x `foot` to `top` and z `low` to `high`, its outer upper half cut off."""
    run, rise = top - foot, high - low
    length, outward = math.hypot(run, rise), math.copysign(1.0, foot - top)
    middle = (foot + top) / 2, (low + high) / 2
    depth = 0.7 * abs(run) * rise / length  # well over half the distance of the lost corner
    center = (middle[0] + outward * depth * rise / length, 0.0, middle[1] + depth * abs(run) / length)
    turn = rotation_from_euler(0, -math.degrees(math.atan2(rise, run)), 0)
    return [
        box(paint, (middle[0], 0.0, middle[1]), (abs(run) / 2, 0.05, rise / 2), rounding=0.0),
        box(paint, center, (length / 2, 0.2, depth), rotation=turn, cut=True, rounding=0.0),
    ]


def sailboat(rng: random.Random) -> Built:
    """A hull with a deck, a mast and triangular sails."""
    pal = Palette(rng, glossy=0.2)
    hull = pal.pick("wooden", "red", "blue", "brown", also=("wooden",))
    sail = pal.pick("white", "beige", unlike=(hull,))
    flag = pal.pick("red", "blue", unlike=(hull, sail))
    mast, h = pal.fixed("wooden"), rng.uniform(1.0, 1.35)
    if rng.random() < 0.3:
        sail = pal.patterned(sail, "stripes", 4.0, flag)
    parts = [
        ball(hull, (0, 0, 0.2), (0.75, 0.3, 0.3)), box(mast, (0, 0, 0.4), (0.4, 0.2, 0.1), rounding=0.05),
        rod(mast, (0.13, 0, 0.1), (0.13, 0, h + 0.3), 0.045),
    ]  # fmt: skip
    for foot, top, low, high in ((-0.68, 0.1, 0.36, h + 0.2), (0.7, 0.15, 0.36, 0.85 * h)):
        parts += _sail(sail, foot, top, low, high)
    parts.append(box(flag, (0.26, 0, h + 0.24), (0.14, 0.045, 0.07)))
    return parts, Words(("sailboat",), hull, [], [(sail, "sails"), (flag, "flag"), (hull, "hull")], pal.typical)


def submarine(rng: random.Random) -> Built:
    """A rounded hull with a tower, periscope, portholes and propeller."""
    pal = Palette(rng, glossy=0.5)
    hull = pal.pick("yellow", "grey")
    trim, glass = pal.pick("red", "grey", "black", unlike=(hull,)), pal.fixed("teal", "blue")
    n = rng.uniform(0.75, 0.95)
    parts = [
        ball(hull, (0, 0, 0), (n, 0.33, 0.33)), box(hull, (0, 0, 0.36), (0.24, 0.15, 0.17), rounding=0.08),
        rod(trim, (0.05, 0, 0.4), (0.05, 0, 0.75), 0.05), rod(trim, (0.05, 0, 0.75), (0.2, 0, 0.75), 0.05),
        box(trim, (-n + 0.1, 0, 0), (0.1, 0.34, 0.045)), box(trim, (-n + 0.1, 0, 0), (0.1, 0.045, 0.34)),
        *[stump(trim, (x, 0, 0.05), 0.12, 0.34, rotation=ALONG_Y) for x in (-0.2, 0.2)],
        *[stump(glass, (x, 0, 0.05), 0.08, 0.355, rotation=ALONG_Y) for x in (-0.2, 0.2)],
    ]  # fmt: skip
    return parts, Words(
        ("submarine",), hull, pal.adjectives, [(trim, "periscope|fins"), (glass, "windows|portholes")], pal.typical
    )
