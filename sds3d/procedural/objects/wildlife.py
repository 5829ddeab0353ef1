"""Animals of woods, water and faraway places; they look towards +x."""

from __future__ import annotations

import math
import random

from sds3d.procedural.objects.shapes import (
    ALONG_X,
    ALONG_Y,
    arc,
    around,
    ball,
    eyes,
    melted,
    pair,
    ring,
    rod,
    stump,
)  # fmt: skip
from sds3d.procedural.objects.vocabulary import Palette, Words, sized
from sds3d.procedural.parts import Part, rotation_from_euler

Built = tuple[list[Part], Words]


def rabbit(rng: random.Random) -> Built:
    """Sitting up, with long ears, a pale belly and a round tail."""
    pal = Palette(rng, glossy=0.05)
    fur = pal.pick("white", "grey", "brown", "beige")
    inner, dark = pal.pick("pink", unlike=(fur,)), pal.fixed("black" if fur.name != "black" else "white")
    belly = pal.pick("white", "beige", unlike=(fur,))
    ear, z = rng.uniform(0.22, 0.34), 0.86
    parts = [
        *melted(0.08, [ball(fur, (-0.05, 0, 0.34), (0.36, 0.3, 0.36)), ball(fur, (0.12, 0, z), (0.25, 0.23, 0.23))]),
        ball(belly, (0.12, 0, 0.36), (0.24, 0.22, 0.27)),
        *[rod(fur, (0.06, s * 0.09, z + 0.15), (-0.02, s * 0.15, z + 0.16 + 2 * ear), 0.08) for s in (1, -1)],
        *[rod(inner, (0.11, s * 0.1, z + 0.25), (0.035, s * 0.15, z + 0.13 + 2 * ear), 0.055) for s in (1, -1)],
        ball(belly, (0.32, 0, z - 0.07), (0.09, 0.12, 0.08)), ball(inner, (0.4, 0, z - 0.02), 0.045),
        *eyes(dark, (0.3, 0.12, z + 0.07), 0.05), ball(belly, (-0.42, 0, 0.22), 0.13),
        *pair(ball, fur, (0.22, 0.2, 0.08), (0.2, 0.1, 0.09)), *[rod(fur, (0.2, s * 0.14, 0.5), (0.3, s * 0.12, 0.32), 0.08) for s in (1, -1)],
    ]  # fmt: skip
    details = [(inner, "nose|inner ears"), (belly, "belly|tail")]
    return parts, Words(("rabbit",), fur, [], details, pal.typical)


def turtle(rng: random.Random) -> Built:
    """A patterned dome over a flat belly, four flippers, a head and a small tail."""
    pal = Palette(rng, glossy=0.2)
    skin = pal.pick("green", "green", "brown")
    shell = pal.pick("brown", "green", "brown", unlike=(skin,))
    second = pal.pick("beige", "yellow", unlike=(shell,))
    pattern = rng.choice(("plain", "checks", "dots"))
    coat = pal.patterned(shell, pattern, rng.uniform(2.6, 3.4), second) if pattern != "plain" else shell
    tall = rng.uniform(0.3, 0.42)
    parts = [
        ball(coat, (0, 0, 0.2), (0.55, 0.46, tall)), stump(skin, (0, 0, 0.14), 0.46, 0.09, rounding=0.06), ring(shell, (0, 0, 0.2), 0.46, 0.07),
        rod(skin, (0.45, 0, 0.2), (0.68, 0, 0.34), 0.12), ball(skin, (0.74, 0, 0.38), (0.19, 0.16, 0.15)),
        *eyes(pal.fixed("black" if skin.name != "black" else "white"), (0.84, 0.1, 0.44), 0.04),
        *[ball(skin, (x, s * 0.42, 0.08), (0.2, 0.13, 0.08), rotation=rotation_from_euler(0, 0, s * x * 100)) for x in (-0.36, 0.36) for s in (1, -1)],
        stump(skin, (-0.58, 0, 0.12), 0.07, 0.12, 0.2, rotation=rotation_from_euler(0, -90, 0)),
    ]  # fmt: skip
    details = [(shell, "shell"), (skin, "legs|head")] + ([(second, pattern)] if pattern != "plain" else [])
    return parts, Words(("turtle",), None, sized(tall, 0.33, 0.39, "flat", "round"), details, pal.typical)


def elephant(rng: random.Random) -> Built:
    """A barrel of a body on thick legs, wide ears, a hanging trunk and tusks."""
    pal = Palette(rng, glossy=0.05)
    hide = pal.pick("grey")
    inner, tusk = pal.pick("pink", unlike=(hide,)), pal.fixed("white")
    fat = rng.uniform(0.36, 0.44)
    z = 0.82
    parts = [
        ball(hide, (-0.1, 0, 0.66), (0.56, fat, 0.4)),
        *[rod(hide, (x - 0.1, s * 0.2, 0.5), (x - 0.1, s * 0.2, 0.12), 0.135, blend=0.06) for x in (-0.3, 0.3) for s in (1, -1)],
        ball(hide, (0.48, 0, z), (0.3, 0.28, 0.3), blend=0.06),
        *[ball(hide, (0.38, s * 0.38, z + 0.04), (0.07, 0.24, 0.29), rotation=rotation_from_euler(0, 0, s * 25)) for s in (1, -1)],
        *[ball(inner, (0.41, s * 0.39, z + 0.03), (0.06, 0.17, 0.21), rotation=rotation_from_euler(0, 0, s * 25)) for s in (1, -1)],
        rod(hide, (0.7, 0, z - 0.08), (0.88, 0, 0.42), 0.11, taper=0.75, blend=0.06), rod(hide, (0.88, 0, 0.42), (0.98, 0, 0.2), 0.08, taper=0.75, blend=0.03),
        *[rod(tusk, (0.66, s * 0.15, z - 0.14), (0.92, s * 0.19, z - 0.24), 0.05, taper=0.4) for s in (1, -1)],
        *eyes(pal.fixed("black" if hide.name != "black" else "white"), (0.7, 0.17, z + 0.1), 0.045),
        rod(hide, (-0.62, 0, 0.7), (-0.72, 0, 0.36), 0.045),
    ]  # fmt: skip
    return parts, Words(
        ("elephant",),
        hide,
        sized(fat, 0.38, 0.42, "thin", "fat"),
        [(tusk, "tusks"), (inner, "inner ears")],
        pal.typical,
    )


def giraffe(rng: random.Random) -> Built:
    """A short sloping body on tall legs, a very long neck, horns and dark patches."""
    pal = Palette(rng, glossy=0)
    fur = pal.pick("yellow", "orange")
    patch, dark = pal.pick("brown", unlike=(fur,)), pal.fixed("black")
    coat = pal.patterned(fur, "dots", rng.uniform(4.2, 5.2), patch)
    neck = rng.uniform(0.7, 0.95)
    top = 0.85 + neck
    parts = [
        ball(coat, (0, 0, 0.8), (0.42, 0.2, 0.24), rotation=rotation_from_euler(0, -14, 0)),
        rod(coat, (0.3, 0, 0.85), (0.5, 0, top), 0.15, taper=0.6, blend=0.08),
        *[rod(coat, (x, s * 0.12, 0.72), (x, s * 0.12, 0.08), 0.09, taper=0.8, blend=0.05) for x in (-0.28, 0.28) for s in (1, -1)],
        rod(coat, (0.47, 0, top + 0.05), (0.74, 0, top - 0.06), 0.125, taper=0.75, blend=0.05),
        *eyes(dark, (0.56, 0.1, top + 0.08), 0.045), *[rod(patch, (0.45, s * 0.07, top + 0.1), (0.42, s * 0.08, top + 0.27), 0.04) for s in (1, -1)],
        *[ball(fur, (0.38, s * 0.16, top + 0.1), (0.06, 0.11, 0.05), rotation=rotation_from_euler(s * 20, 0, 0)) for s in (1, -1)],
        rod(fur, (-0.38, 0, 0.75), (-0.5, 0, 0.45), 0.04), ball(patch, (-0.51, 0, 0.42), 0.06),
    ]  # fmt: skip
    return parts, Words(
        ("giraffe",), fur, sized(neck, 0.76, 0.88, "short", "tall"), [(patch, "patches|dots")], pal.typical
    )


def sheep(rng: random.Random) -> Built:
    """A woolly cloud of a body with a dark face, ears and legs."""
    pal = Palette(rng, glossy=0)
    wool = pal.pick("white", "white", "beige")
    skin = pal.pick("black", "grey", unlike=(wool,))
    eye = pal.fixed("white" if skin.name in ("black", "brown") else "black")
    parts = [ball(wool, (0, 0, 0.58), (0.48, 0.34, 0.32))]
    start = rng.uniform(0, 60)
    parts += [ball(wool, (x, y * 0.8, 0.52), 0.17, blend=0.03) for x, y, _ in around(6, 0.4, start)]
    parts += [ball(wool, (x, y * 0.75, 0.78), 0.16, blend=0.03) for x, y, _ in around(4, 0.26, start)]
    parts += [
        ball(skin, (0.58, 0, 0.72), (0.2, 0.15, 0.17), rotation=rotation_from_euler(0, 30, 0)), ball(wool, (0.48, 0, 0.86), (0.15, 0.17, 0.11)),
        *[ball(skin, (0.5, s * 0.21, 0.74), (0.06, 0.12, 0.05), rotation=rotation_from_euler(-s * 25, 0, 0)) for s in (1, -1)],
        *eyes(eye, (0.66, 0.1, 0.79), 0.042), *[rod(skin, (x, s * 0.17, 0.4), (x, s * 0.17, 0.07), 0.075) for x in (-0.26, 0.24) for s in (1, -1)],
    ]  # fmt: skip
    return parts, Words(("sheep",), wool, ["woolly"], [(skin, "head|legs")], pal.typical)


def snail(rng: random.Random) -> Built:
    """A coiled shell on a long foot with two eye stalks."""
    pal = Palette(rng, glossy=0.2)
    body = pal.pick("beige", "yellow", "green")
    shell = pal.pick("brown", "orange", "red", unlike=(body,))
    swirl = pal.pick("white", "beige", unlike=(shell,))
    eye, r = pal.fixed("black" if body.name != "black" else "white"), rng.uniform(0.36, 0.44)
    z = 0.2 + r
    parts = [
        stump(shell, (-0.1, 0, z), r, 0.2, rotation=ALONG_Y, rounding=0.12), ball(shell, (-0.1, 0, z), (0.8 * r, 0.27, 0.8 * r)),
        *[ring(swirl, (-0.1, s * 0.17, z), 0.68 * r, 0.06, rotation=ALONG_Y) for s in (1, -1)],
        *[ball(swirl, (-0.08, s * 0.24, z + 0.02), (0.11, 0.07, 0.11)) for s in (1, -1)],
        *melted(0.08, [
            rod(body, (-0.62, 0, 0.09), (0.5, 0, 0.12), 0.07, taper=2.0), rod(body, (0.48, 0, 0.14), (0.66, 0, 0.5), 0.15, taper=0.85),
        ]),
        *[rod(body, (0.68, s * 0.07, 0.55), (0.78, s * 0.16, 0.86), 0.04) for s in (1, -1)], *eyes(eye, (0.79, 0.17, 0.89), 0.065),
    ]  # fmt: skip
    details = [(shell, "shell"), (swirl, "swirl"), (body, "body")]
    return parts, Words(("snail",), None, pal.adjectives, details, pal.typical)


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


def whale(rng: random.Random) -> Built:
    """A fat drop with a pale belly, flippers, a raised fluke and a spout of water."""
    pal = Palette(rng, glossy=0.4)
    skin = pal.pick("blue", "blue", "grey")
    belly = pal.pick("white", "beige", unlike=(skin,))
    water, dark = pal.fixed("white"), pal.fixed("black" if skin.name != "black" else "white")
    fat, spouts = rng.uniform(0.36, 0.44), rng.random() < 0.5
    parts = [
        ball(skin, (0.1, 0, 0.4), (0.62, fat, 0.4)), rod(skin, (-0.3, 0, 0.42), (-0.82, 0, 0.68), 0.25, taper=0.35, blend=0.15),
        ball(belly, (0.16, 0, 0.3), (0.54, 0.86 * fat, 0.31)), *eyes(dark, (0.52, 0.83 * fat * 0.82, 0.46), 0.05),
        *[ball(skin, (-0.92, s * 0.2, 0.76), (0.13, 0.25, 0.06), rotation=rotation_from_euler(s * 12, -25, s * 25)) for s in (1, -1)],
        *[ball(skin, (0.12, s * (fat + 0.08), 0.2), (0.13, 0.22, 0.05), rotation=rotation_from_euler(-s * 30, 0, -s * 25)) for s in (1, -1)],
    ]  # fmt: skip
    details = [(belly, "belly")]
    if spouts:
        parts += [rod(water, (0.2, 0, 0.75), (0.2, 0, 1.0), 0.05)]
        parts += [
            arc(water, (0.2, s * 0.13, 0.98), 0.13, 85, 0.05, rotation=rotation_from_euler(0, 0, 90)) for s in (1, -1)
        ]
        details.append((water, "water spout"))
    return parts, Words(("whale",), skin, pal.adjectives + sized(fat, 0.38, 0.42, "thin", "fat"), details, pal.typical)


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
        *pair(ball, skin, (0.26, 0.2, 0.7), 0.13, blend=0.05), *pair(ball, white, (0.32, 0.22, 0.73), 0.1), *eyes(dark, (0.4, 0.23, 0.75), 0.055),
        *[ball(skin, (-0.2, s * 0.42, 0.2), (0.3, 0.13, 0.17), rotation=rotation_from_euler(0, -20, s * 12)) for s in (1, -1)],
        *pair(ball, skin, (0.08, 0.5, 0.05), (0.25, 0.13, 0.05)),
        *[rod(skin, (0.28, s * 0.26, 0.36), (0.36, s * 0.32, 0.08), 0.08) for s in (1, -1)], *pair(ball, skin, (0.43, 0.33, 0.05), (0.15, 0.12, 0.05)),
        arc(dark, (0.28, 0, 0.53), 0.3, 62, 0.022, rotation=rotation_from_euler(90, 0, 90)),
    ]  # fmt: skip
    return parts, Words(("frog",), skin, pal.adjectives, [(belly, "belly")], pal.typical)


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
        *[ball(pale, (0.24, s * 0.155, z), (0.12, 0.17, 0.17)) for s in (1, -1)], *[stump(iris, (0.35, s * 0.155, z), 0.11, 0.02, rotation=ALONG_X) for s in (1, -1)],
        *eyes(dark, (0.37, 0.155, z), 0.06), stump(beak, (0.39, 0, z - 0.11), 0.06, 0.09, 0.1, rotation=rotation_from_euler(0, 140, 0)),
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
            ball(spot, (0.3, side * 0.55 * c, 0.55 * s + 0.02), (0.13, 0.14, 0.06), rotation=turn), ball(spot, (-0.36, side * 0.4 * c, 0.4 * s + 0.02), (0.1, 0.11, 0.06), rotation=turn),
            rod(body, (0.46, side * 0.05, 0.12), (0.72, side * 0.2, 0.34), 0.03),
        ]  # fmt: skip
    details = [(spot, "dots|spots")] + ([(low, "hind wings")] if low is not wing else [])
    return parts, Words(("butterfly",), wing, [], details, pal.typical)


def snake(rng: random.Random) -> Built:
    """A body in bends on the ground, a raised head and a forked tongue."""
    pal = Palette(rng, glossy=0.3)
    skin = pal.pick("green", "green", "brown", "red")
    second = pal.pick("yellow", "black", "white", unlike=(skin,))
    banded = rng.random() < 0.5
    tongue, eye = pal.pick("red", unlike=(skin,)), pal.fixed("black" if skin.name != "black" else "white")
    r, thick, up = 0.24, rng.uniform(0.1, 0.125), rotation_from_euler(90, 0, 0)
    parts = []
    for k in range(3):  # half rings, bulging to one side and to the other, thinner towards the tail
        x = -0.62 + 2 * r * k
        turn = up if k % 2 else rotation_from_euler(-90, 0, 0)
        coat = second if banded and k == 1 else skin
        tube, taper = thick * (0.5 + 0.2 * k), (0.7 + 0.2 * k) / (0.5 + 0.2 * k)
        parts.append(arc(coat, (x, 0, 0.12), r, 90, tube, taper=taper, rotation=turn, blend=0.02))
    parts += [
        rod(skin, (0.58, 0, 0.12), (0.68, 0, 0.5), thick, blend=0.08), ball(skin, (0.78, 0, 0.56), (0.22, 0.15, 0.12), blend=0.05),
        *eyes(eye, (0.86, 0.1, 0.63), 0.045), rod(tongue, (0.96, 0, 0.53), (1.12, 0, 0.5), 0.025),
        *[rod(tongue, (1.12, 0, 0.5), (1.2, s * 0.06, 0.51), 0.022) for s in (1, -1)], rod(skin, (-0.86, 0, 0.12), (-1.05, -0.2, 0.1), 0.06, taper=0.4),
    ]  # fmt: skip
    details = [(tongue, "tongue")] + ([(second, "stripe")] if banded else [])
    return parts, Words(("snake",), skin, pal.adjectives, details, pal.typical)
