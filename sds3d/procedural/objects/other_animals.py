"""Birds, insects, reptiles and sea animals; they look toward +x."""

from __future__ import annotations

import math
import random

from sds3d.procedural.objects.shapes import (
    ALONG_X,
    ALONG_Y,
    Built,
    arc,
    around,
    ball,
    box,
    eyes,
    melted,
    pair,
    ring,
    rod,
    stump,
)
from sds3d.procedural.objects.vocabulary import Palette, Words, make_paint, sized
from sds3d.procedural.parts import Pattern, rotation_from_euler


def duck(rng: random.Random) -> Built:
    """A bath duck: round body, head, bill, wings and an upturned tail."""
    pal = Palette(rng, glossy=0.4)
    body = pal.pick("yellow", "yellow", "white")
    bill = pal.pick("orange", unlike=(body,))
    dark, n = pal.fixed("black" if body.name != "black" else "white"), rng.uniform(0.5, 0.6)
    z = rng.uniform(0.66, 0.78)
    parts = [
        ball(body, (0, 0, 0.3), (n, 0.38, 0.32)), ball(body, (0.3, 0, z), 0.27),
        rod(body, (0.26, 0, 0.4), (0.3, 0, z), 0.19),
        ball(bill, (0.57, 0, z - 0.04), (0.15, 0.14, 0.055)), *eyes(dark, (0.5, 0.14, z + 0.09), 0.05),
        *pair(ball, body, (-0.08, 0.35, 0.36), (0.28, 0.09, 0.17), rotation=rotation_from_euler(0, 12, 0)),
        stump(body, (-n + 0.06, 0, 0.46), 0.17, 0.17, 0.2, rotation=rotation_from_euler(0, -48, 0)),
    ]  # fmt: skip
    return parts, Words(("duck",), body, pal.adjectives, [(bill, "beak|bill")], pal.typical)


def penguin(rng: random.Random) -> Built:
    """An upright bird with a white belly, flippers, a beak and feet."""
    pal = Palette(rng, glossy=0.2)
    coat = pal.pick("black")
    belly = make_paint(rng, "white" if coat.name != "white" else "beige")
    beak = pal.pick("orange", "yellow", unlike=(coat, belly))
    tall = rng.uniform(0.45, 0.55)
    z = 2 * tall + 0.02
    parts = [
        ball(coat, (0, 0, tall + 0.04), (0.34, 0.37, tall)), ball(belly, (0.1, 0, tall), (0.28, 0.28, 0.84 * tall)),
        ball(coat, (0.02, 0, z), (0.26, 0.27, 0.25)),
        *pair(ball, belly, (0.17, 0.1, z), (0.1, 0.1, 0.12)),
        *eyes(pal.fixed("black" if coat.name != "black" else "brown"), (0.26, 0.1, z + 0.02), 0.04),
        stump(beak, (0.32, 0, z - 0.05), 0.09, 0.11, 0.15, rotation=ALONG_X),
        *[ball(coat, (0, s * 0.4, tall + 0.05), (0.13, 0.06, 0.32), rotation=rotation_from_euler(s * 18, 0, 0)) for s in (1, -1)],
        *pair(ball, beak, (0.15, 0.16, 0.05), (0.2, 0.13, 0.06)),
    ]  # fmt: skip
    return parts, Words(
        ("penguin",),
        coat,
        pal.adjectives + sized(tall, 0.475, 0.525, "short", "tall"),
        [(belly, "belly"), (beak, "beak|feet")],
        pal.typical,
    )


def bird(rng: random.Random) -> Built:
    """A perching bird with wings, a tail, a beak and two legs."""
    pal = Palette(rng, glossy=0.1)
    body = pal.pick("blue", "red", "yellow", "brown")
    wing = body if rng.random() < 0.3 else pal.pick("blue", "brown", "white", unlike=(body,))
    beak, dark = pal.pick("orange", "yellow", unlike=(body,)), pal.fixed("black" if body.name != "black" else "white")
    belly = pal.pick("white", "beige", unlike=(body,))
    parts = [
        ball(body, (0, 0, 0.5), (0.42, 0.3, 0.3), rotation=rotation_from_euler(0, -25, 0)),
        ball(belly, (0.1, 0, 0.45), (0.3, 0.24, 0.24)),
        ball(body, (0.3, 0, 0.85), 0.24), stump(beak, (0.57, 0, 0.84), 0.09, 0.11, 0.1, rotation=ALONG_X),
        *eyes(dark, (0.47, 0.13, 0.92), 0.045),
        *pair(ball, wing, (-0.1, 0.28, 0.5), (0.32, 0.08, 0.18), rotation=rotation_from_euler(0, -25, 0)),
        box(wing, (-0.5, 0, 0.33), (0.24, 0.11, 0.05), rotation=rotation_from_euler(0, -25, 0)),
        *[rod(beak, (0.05, s * 0.11, 0.3), (0.05, s * 0.11, 0.04), 0.045) for s in (1, -1)],
        *pair(ball, beak, (0.12, 0.11, 0.04), (0.13, 0.07, 0.045)),
    ]  # fmt: skip
    details = [(belly, "belly"), (beak, "beak")] + ([(wing, "wings")] if wing is not body else [])
    return parts, Words(("bird",), body, [], details, pal.typical)


def owl(rng: random.Random) -> Built:
    """An egg of a bird with tufts, two large eyes in pale discs, and wings at its sides."""
    pal = Palette(rng, glossy=0)
    coat = pal.pick("brown", "grey", "white")
    pale = pal.pick("beige", "white", unlike=(coat,))
    iris, dark = pal.pick("yellow", "orange", unlike=(coat, pale)), pal.fixed("black")
    beak, tall = pal.fixed("orange"), rng.uniform(0.5, 0.62)
    wing = pal.pick("brown", "grey", unlike=(coat, pale))
    z = 1.55 * tall
    parts = [
        ball(coat, (0, 0, tall), (0.38, 0.42, tall)), ball(pale, (0.13, 0, 0.75 * tall), (0.28, 0.3, 0.6 * tall)),
        *[ball(pale, (0.24, s * 0.155, z), (0.12, 0.17, 0.17)) for s in (1, -1)],
        *[stump(iris, (0.35, s * 0.155, z), 0.11, 0.02, rotation=ALONG_X) for s in (1, -1)],
        *eyes(dark, (0.37, 0.155, z), 0.06),
        stump(beak, (0.39, 0, z - 0.11), 0.06, 0.09, 0.1, rotation=rotation_from_euler(0, 140, 0)),
        *[stump(coat, (0.04, s * 0.26, z + 0.24), 0.11, 0.16, 0.1, rotation=rotation_from_euler(-s * 22, 0, 0)) for s in (1, -1)],
        *[ball(wing, (-0.04, s * 0.4, 0.9 * tall), (0.24, 0.08, 0.62 * tall), rotation=rotation_from_euler(s * 8, 8, 0)) for s in (1, -1)],
        *pair(ball, beak, (0.2, 0.14, 0.04), (0.16, 0.1, 0.05)),
    ]  # fmt: skip
    return parts, Words(
        ("owl",),
        coat,
        sized(tall, 0.53, 0.59, "short", "tall"),
        [(pale, "belly"), (iris, "eyes"), (wing, "wings")],
        pal.typical,
    )


def fish(rng: random.Random) -> Built:
    """A flattened body with a tail, fins, eyes and lips, at times with stripes."""
    pal = Palette(rng, glossy=0.3)
    body = pal.pick("orange", "blue", "gold")
    fin = body if rng.random() < 0.3 else pal.pick("orange", "yellow", "red", unlike=(body,))
    white, dark = pal.fixed("white"), pal.fixed("black")
    stripe = pal.pick("white", "black", unlike=(body,))
    h, striped = rng.uniform(0.32, 0.45), rng.random() < 0.4
    parts = [ball(body, (0, 0, 0), (0.6, 0.24, h)), ball(fin, (0.58, 0, -0.03), (0.07, 0.1, 0.08))]
    if striped:
        for x in (-0.15, 0.2):
            k = math.sqrt(1 - (x / 0.6) ** 2) + 0.04
            parts.append(ball(stripe, (x, 0, 0), (0.07, 0.24 * k, h * k)))
    parts += [*pair(ball, white, (0.38, 0.15, 0.09), 0.085), *pair(ball, dark, (0.42, 0.21, 0.1), 0.05)]
    parts += [
        ball(fin, (-0.68, 0, s * 0.16), (0.25, 0.06, 0.13), rotation=rotation_from_euler(0, s * 38, 0)) for s in (1, -1)
    ]
    parts += [
        ball(fin, (-0.08, 0, h + 0.02), (0.28, 0.05, 0.16), rotation=rotation_from_euler(0, -12, 0)),
        ball(fin, (-0.05, 0, -h), (0.16, 0.05, 0.14)),
    ]
    parts += [
        ball(fin, (0.08, s * 0.27, -0.08), (0.17, 0.1, 0.05), rotation=rotation_from_euler(0, -15, -s * 35))
        for s in (1, -1)
    ]
    details = ([(fin, "fins|tail")] if fin is not body else []) + ([(stripe, "stripes")] if striped else [])
    return parts, Words(
        ("fish", "goldfish" if body.name in ("gold", "orange") else "fish"),
        body,
        pal.adjectives,
        details or [(white, "eyes")],
        pal.typical,
    )


def octopus(rng: random.Random) -> Built:
    """A round head on eight curling arms."""
    pal = Palette(rng, glossy=0.3)
    skin = pal.pick("purple", "red", "orange", "pink")
    white, dark = pal.fixed("white"), pal.fixed("black")
    tall = rng.uniform(0.38, 0.5)
    parts = [ball(skin, (0, 0, 0.3 + tall), (0.36, 0.36, tall))]
    for x, y, angle in around(8, 0.4, 22.5):
        turn = rotation_from_euler(0, 0, angle)
        parts.append(arc(skin, (x, y, 0.1), 0.22, 75, 0.115, taper=0.95, rotation=turn, blend=0.05))
        tip = 0.4 + 0.3
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        parts.append(
            arc(
                skin,
                (c * (tip + 0.07), s * (tip + 0.07), 0.13),
                0.15,
                70,
                0.07,
                taper=0.6,
                rotation=turn @ rotation_from_euler(180, 0, 0),
            )
        )
    parts += [
        *pair(ball, white, (0.3, 0.14, 0.42 + 0.5 * tall), (0.08, 0.09, 0.11)),
        *eyes(dark, (0.36, 0.14, 0.41 + 0.5 * tall), 0.055),
    ]
    return parts, Words(
        ("octopus",),
        skin,
        pal.adjectives + sized(tall, 0.41, 0.47, "flat", "tall"),
        [(skin, "arms|tentacles")],
        pal.typical,
    )


def turtle(rng: random.Random) -> Built:
    """A patterned dome over a flat belly, four flippers, a head and a small tail."""
    pal = Palette(rng, glossy=0.2)
    skin = pal.pick("green", "green", "brown")
    shell = pal.pick("brown", "green", "brown", unlike=(skin,))
    second = pal.pick("beige", "yellow", unlike=(shell,))
    pattern: Pattern = rng.choice(("plain", "checks", "dots"))
    coat = pal.patterned(shell, pattern, rng.uniform(2.6, 3.4), second) if pattern != "plain" else shell
    tall = rng.uniform(0.3, 0.42)
    parts = [
        ball(coat, (0, 0, 0.2), (0.55, 0.46, tall)), stump(skin, (0, 0, 0.14), 0.46, 0.09, rounding=0.06),
        ring(shell, (0, 0, 0.2), 0.46, 0.07),
        rod(skin, (0.45, 0, 0.2), (0.68, 0, 0.34), 0.12), ball(skin, (0.74, 0, 0.38), (0.19, 0.16, 0.15)),
        *eyes(pal.fixed("black" if skin.name != "black" else "white"), (0.84, 0.1, 0.44), 0.04),
        *[ball(skin, (x, s * 0.42, 0.08), (0.2, 0.13, 0.08), rotation=rotation_from_euler(0, 0, s * x * 100)) for x in (-0.36, 0.36) for s in (1, -1)],
        stump(skin, (-0.58, 0, 0.12), 0.07, 0.12, 0.2, rotation=rotation_from_euler(0, -90, 0)),
    ]  # fmt: skip
    details = [(shell, "shell"), (skin, "legs|head")] + ([(second, pattern)] if pattern != "plain" else [])
    return parts, Words(("turtle",), None, sized(tall, 0.33, 0.39, "flat", "round"), details, pal.typical)


def frog(rng: random.Random) -> Built:
    """Squatting, with bulging eyes, a wide pale belly and folded hind legs."""
    pal = Palette(rng, glossy=0.4)
    skin = pal.pick("green")
    belly = pal.pick("beige", "yellow", "white", unlike=(skin,))
    white, dark = pal.fixed("white"), pal.fixed("black")
    wide = rng.uniform(0.36, 0.44)
    parts = [
        *melted(0.1, [ball(skin, (-0.05, 0, 0.34), (0.46, wide, 0.28), rotation=rotation_from_euler(0, -24, 0)), ball(skin, (0.26, 0, 0.52), (0.3, 0.36, 0.2))]),
        ball(belly, (0.14, 0, 0.32), (0.31, 0.29, 0.24)),
        *pair(ball, skin, (0.26, 0.2, 0.7), 0.13, blend=0.05), *pair(ball, white, (0.32, 0.22, 0.73), 0.1),
        *eyes(dark, (0.4, 0.23, 0.75), 0.055),
        *[ball(skin, (-0.2, s * 0.42, 0.2), (0.3, 0.13, 0.17), rotation=rotation_from_euler(0, -20, s * 12)) for s in (1, -1)],
        *pair(ball, skin, (0.08, 0.5, 0.05), (0.25, 0.13, 0.05)),
        *[rod(skin, (0.28, s * 0.26, 0.36), (0.36, s * 0.32, 0.08), 0.08) for s in (1, -1)],
        *pair(ball, skin, (0.43, 0.33, 0.05), (0.15, 0.12, 0.05)),
        arc(dark, (0.28, 0, 0.53), 0.3, 62, 0.022, rotation=rotation_from_euler(90, 0, 90)),
    ]  # fmt: skip
    return parts, Words(("frog",), skin, pal.adjectives, [(belly, "belly")], pal.typical)


def snake(rng: random.Random) -> Built:
    """A body in bends on the ground, a raised head and a forked tongue."""
    pal = Palette(rng, glossy=0.3)
    skin = pal.pick("green", "green", "brown", "red")
    second = pal.pick("yellow", "black", "white", unlike=(skin,))
    banded = rng.random() < 0.5
    tongue, eye = pal.pick("red", unlike=(skin,)), pal.fixed("black" if skin.name != "black" else "white")
    r, thick, up = 0.24, rng.uniform(0.1, 0.125), rotation_from_euler(90, 0, 0)
    parts = []
    for k in range(3):  # half rings, bulging to one side and to the other, thinner toward the tail
        x = -0.62 + 2 * r * k
        turn = up if k % 2 else rotation_from_euler(-90, 0, 0)
        coat = second if banded and k == 1 else skin
        tube, taper = thick * (0.5 + 0.2 * k), (0.7 + 0.2 * k) / (0.5 + 0.2 * k)
        parts.append(arc(coat, (x, 0, 0.12), r, 90, tube, taper=taper, rotation=turn, blend=0.02))
    parts += [
        rod(skin, (0.58, 0, 0.12), (0.68, 0, 0.5), thick, blend=0.08),
        ball(skin, (0.78, 0, 0.56), (0.22, 0.15, 0.12), blend=0.05),
        *eyes(eye, (0.86, 0.1, 0.63), 0.045), rod(tongue, (0.96, 0, 0.53), (1.12, 0, 0.5), 0.025),
        *[rod(tongue, (1.12, 0, 0.5), (1.2, s * 0.06, 0.51), 0.022) for s in (1, -1)],
        rod(skin, (-0.86, 0, 0.12), (-1.05, -0.2, 0.1), 0.06, taper=0.4),
    ]  # fmt: skip
    details = [(tongue, "tongue")] + ([(second, "stripe")] if banded else [])
    return parts, Words(("snake",), skin, pal.adjectives, details, pal.typical)


def snail(rng: random.Random) -> Built:
    """A coiled shell on a long foot with two eye stalks."""
    pal = Palette(rng, glossy=0.2)
    body = pal.pick("beige", "yellow", "green")
    shell = pal.pick("brown", "orange", "red", unlike=(body,))
    swirl = pal.pick("white", "beige", unlike=(shell,))
    eye, r = pal.fixed("black" if body.name != "black" else "white"), rng.uniform(0.36, 0.44)
    z = 0.2 + r
    parts = [
        stump(shell, (-0.1, 0, z), r, 0.2, rotation=ALONG_Y, rounding=0.12),
        ball(shell, (-0.1, 0, z), (0.8 * r, 0.27, 0.8 * r)),
        *[ring(swirl, (-0.1, s * 0.17, z), 0.68 * r, 0.06, rotation=ALONG_Y) for s in (1, -1)],
        *[ball(swirl, (-0.08, s * 0.24, z + 0.02), (0.11, 0.07, 0.11)) for s in (1, -1)],
        *melted(0.08, [
            rod(body, (-0.62, 0, 0.09), (0.5, 0, 0.12), 0.07, taper=2.0),
            rod(body, (0.48, 0, 0.14), (0.66, 0, 0.5), 0.15, taper=0.85),
        ]),
        *[rod(body, (0.68, s * 0.07, 0.55), (0.78, s * 0.16, 0.86), 0.04) for s in (1, -1)],
        *eyes(eye, (0.79, 0.17, 0.89), 0.065),
    ]  # fmt: skip
    details = [(shell, "shell"), (swirl, "swirl"), (body, "body")]
    return parts, Words(("snail",), None, pal.adjectives, details, pal.typical)


def ladybug(rng: random.Random) -> Built:
    """A dotted dome with a dark head, feelers and six legs."""
    pal = Palette(rng, glossy=0.5)
    dark = pal.fixed("black")
    shell = pal.pick("red", unlike=(dark,))
    top = pal.patterned(shell, "dots", rng.uniform(3.0, 4.0), dark)
    parts = [
        ball(top, (0, 0, 0.26), (0.55, 0.47, 0.42)), box(dark, (0, 0, 0.12), (0.42, 0.36, 0.08), rounding=0.07),
        ball(dark, (0.5, 0, 0.25), (0.22, 0.26, 0.22)),
        *eyes(pal.fixed("white"), (0.64, 0.13, 0.34), 0.07),
        *[rod(dark, (0.55, s * 0.1, 0.4), (0.72, s * 0.2, 0.64), 0.04) for s in (1, -1)],
        *[rod(dark, (x, s * 0.3, 0.12), (1.25 * x, s * 0.58, 0.04), 0.05) for x in (-0.28, 0.0, 0.28) for s in (1, -1)],
    ]  # fmt: skip
    return parts, Words(("ladybug",), shell, pal.adjectives, [(dark, "dots|spots|head")], pal.typical)


def bee(rng: random.Random) -> Built:
    """A striped body with two pairs of wings, eyes, feelers and a sting."""
    pal = Palette(rng, glossy=0.1)
    dark, wing = pal.fixed("black"), pal.pick("white", "teal")
    body = pal.pick("yellow", unlike=(dark, wing))
    parts = [ball(body, (-0.05, 0, 0), (0.5, 0.34, 0.34)), ball(body, (0.45, 0, 0.03), 0.25)]
    for x in (-0.32, -0.08, 0.16):
        k = math.sqrt(1 - ((x + 0.05) / 0.5) ** 2)
        parts.append(stump(dark, (x, 0, 0), 0.34 * k + 0.015, 0.055, rotation=ALONG_X))
    parts += [
        stump(dark, (-0.58, 0, 0), 0.09, 0.1, 0.1, rotation=rotation_from_euler(0, -90, 0)),
        *eyes(dark, (0.62, 0.13, 0.1), 0.065),
    ]
    parts += [rod(dark, (0.5, s * 0.09, 0.22), (0.66, s * 0.15, 0.46), 0.04) for s in (1, -1)]
    for x, n in ((0.12, 0.34), (-0.12, 0.26)):
        parts += [
            ball(wing, (x, s * (0.12 + 0.7 * n), 0.42), (0.16, n, 0.05), rotation=rotation_from_euler(s * 25, 0, 0))
            for s in (1, -1)
        ]
    return parts, Words(("bee",), body, [], [(dark, "stripes"), (wing, "wings")], pal.typical)


def butterfly(rng: random.Random) -> Built:
    """A dark body with four wide wings, spread level or raised, and feelers."""
    pal = Palette(rng, glossy=0.1)
    wing = pal.pick("blue", "orange", "yellow", "purple")
    spot = pal.pick("white", "yellow", "black", unlike=(wing,))
    low = wing if rng.random() < 0.4 else pal.pick("red", "pink", unlike=(wing,))
    body, lift = pal.fixed("black"), rng.uniform(15, 40)
    c, s = math.cos(math.radians(lift)), math.sin(math.radians(lift))
    parts = [rod(body, (-0.4, 0, 0), (0.32, 0, 0.03), 0.07, taper=1.2), ball(body, (0.42, 0, 0.05), 0.12)]
    for side in (1, -1):
        turn = rotation_from_euler(side * lift, 0, 0)
        parts += [
            ball(wing, (0.2, side * 0.42 * c, 0.42 * s + 0.02), (0.34, 0.42, 0.045), rotation=turn @ rotation_from_euler(0, 0, -side * 35)),
            ball(low, (-0.3, side * 0.32 * c, 0.32 * s + 0.02), (0.25, 0.33, 0.045), rotation=turn @ rotation_from_euler(0, 0, side * 30)),
            ball(spot, (0.3, side * 0.55 * c, 0.55 * s + 0.02), (0.13, 0.14, 0.06), rotation=turn),
            ball(spot, (-0.36, side * 0.4 * c, 0.4 * s + 0.02), (0.1, 0.11, 0.06), rotation=turn),
            rod(body, (0.46, side * 0.05, 0.12), (0.72, side * 0.2, 0.34), 0.03),
        ]  # fmt: skip
    details = [(spot, "dots|spots")] + ([(low, "hind wings")] if low is not wing else [])
    return parts, Words(("butterfly",), wing, [], details, pal.typical)
