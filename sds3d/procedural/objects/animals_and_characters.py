"""Animals and characters; they look towards +x."""

from __future__ import annotations

import math
import random

from sds3d.procedural.objects.shapes import ALONG_X, ball, box, eyes, pair, ring, rod, stump
from sds3d.procedural.objects.vocabulary import Paint, Palette, Words, make_paint, sized
from sds3d.procedural.parts import Part, rotation_from_euler

Built = tuple[list[Part], Words]


def snowman(rng: random.Random) -> Built:
    """Two or three balls of snow, a carrot nose, buttons, arms, a hat and a scarf."""
    pal = Palette(rng, glossy=0)
    snow, coal, nose, stick = (pal.fixed(c) for c in ("white", "black", "orange", "brown"))
    scarf, hat = pal.pick("red", "blue", unlike=(snow,)), pal.pick("black", unlike=(snow,))
    r = rng.uniform(0.4, 0.46)
    z2, z3 = r + 0.42, r + 0.85
    parts = [
        ball(snow, (0, 0, r * 0.9), r), ball(snow, (0, 0, z2), 0.31), ball(snow, (0, 0, z3), 0.24),
        stump(nose, (0.3, 0, z3), 0.07, 0.13, 0.1, rotation=ALONG_X), *eyes(coal, (0.2, 0.09, z3 + 0.09), 0.045),
        ring(scarf, (0, 0, z2 + 0.23), 0.2, 0.07), box(scarf, (0.27, 0.1, z2 + 0.1), (0.05, 0.065, 0.15)),
        *[ball(coal, (0.31, 0, z2 + dz), 0.05) for dz in (-0.06, 0.06)],
        *[rod(stick, (0, s * 0.2, z2), (0.05, s * 0.6, z2 + 0.2), 0.045) for s in (1, -1)],
    ]  # fmt: skip
    details = [(scarf, "scarf"), ("carrot", "nose")]
    if rng.random() < 0.75:
        parts += [stump(hat, (0, 0, z3 + 0.2), 0.28, 0.04), stump(hat, (0, 0, z3 + 0.36), 0.18, 0.17)]
        details.append((hat, "hat"))
    return parts, Words(("snowman",), None, [], details, pal.typical)


def robot(rng: random.Random) -> Built:
    """A boxy body and head with eyes, an antenna, a chest panel, arms and legs."""
    pal = Palette(rng, glossy=0.4)
    body = pal.pick("silver", "grey", "blue")
    limbs = body if rng.random() < 0.3 else pal.pick("grey", "black", "silver", unlike=(body,))
    eye, panel = pal.pick("yellow", "red", "teal", unlike=(body,)), pal.pick("red", "blue", "yellow", unlike=(body,))
    w, h = rng.uniform(0.24, 0.34), rng.uniform(0.24, 0.34)
    z, top = 0.45 + h, 0.45 + 2 * h
    parts = [
        box(body, (0, 0, z), (0.2, w, h)), box(panel, (0.19, 0, z + 0.05), (0.05, 0.6 * w, 0.4 * h)), stump(limbs, (0, 0, top + 0.03), 0.09, 0.08),
        box(body, (0, 0, top + 0.27), (0.2, 0.26, 0.2)), *pair(ball, eye, (0.2, 0.12, top + 0.32), 0.075), box(limbs, (0.2, 0, top + 0.16), (0.03, 0.14, 0.035)),
        rod(limbs, (0, 0, top + 0.4), (0, 0, top + 0.6), 0.04), ball(eye, (0, 0, top + 0.65), 0.08), *pair(ball, limbs, (0, 0.27, top + 0.27), 0.08),
        *[rod(limbs, (0, s * w, z + 0.5 * h), (0.0, s * (w + 0.18), z - 0.3), 0.08) for s in (1, -1)], *pair(ball, body, (0, w + 0.18, z - 0.32), 0.11),
        *pair(stump, limbs, (0, 0.55 * w, 0.3), 0.09, 0.22), *pair(box, body, (0.06, 0.55 * w, 0.08), (0.18, 0.13, 0.09)),
    ]  # fmt: skip
    details = [(eye, "eyes"), *([(limbs, "arms|legs")] if limbs is not body else []), (panel, "chest panel")]
    return parts, Words(("robot",), body, pal.adjectives + sized(h, 0.27, 0.31, "small", "tall"), details, pal.typical)


def teddy_bear(rng: random.Random) -> Built:
    """A sitting bear with round ears, a muzzle, a belly patch and paws."""
    pal = Palette(rng, glossy=0)
    fur, dark = pal.pick("brown", "brown", "beige"), pal.fixed("black")
    light = pal.pick("beige", "white", unlike=(fur,))
    bow = pal.pick("red", "blue", unlike=(fur, light))
    fat = rng.uniform(0.33, 0.4)
    parts = [
        ball(fur, (0, 0, 0.38), (fat, fat, 0.4)), ball(light, (0.1, 0, 0.37), (fat - 0.05, 0.75 * fat, 0.3)), ball(fur, (0.03, 0, 0.95), (0.3, 0.34, 0.3)),
        *pair(ball, fur, (0, 0.27, 1.18), (0.09, 0.13, 0.13)), *pair(ball, light, (0.05, 0.27, 1.18), (0.07, 0.08, 0.08)),
        ball(light, (0.27, 0, 0.87), (0.13, 0.15, 0.11)), ball(dark, (0.38, 0, 0.91), (0.05, 0.065, 0.05)), *eyes(dark, (0.28, 0.13, 1.02), 0.05),
        *[rod(fur, (0.02, s * 0.28, 0.6), (0.2, s * 0.45, 0.38), 0.12) for s in (1, -1)],
        *[rod(fur, (0.1, s * 0.22, 0.14), (0.42, s * 0.3, 0.14), 0.14) for s in (1, -1)], *pair(ball, light, (0.53, 0.3, 0.14), (0.05, 0.1, 0.1)),
    ]  # fmt: skip
    details = [(light, "belly|paws")]
    if rng.random() < 0.5:
        parts += [*pair(ball, bow, (0.27, 0.11, 0.68), (0.07, 0.12, 0.08)), ball(bow, (0.3, 0, 0.68), 0.07)]
        details.append((bow, "bow tie"))
    return parts, Words(("teddy bear",), fur, sized(fat, 0.34, 0.385, "small", "fat"), details, pal.typical)


def duck(rng: random.Random) -> Built:
    """A bath duck: round body, head, bill, wings and an upturned tail."""
    pal = Palette(rng, glossy=0.4)
    body = pal.pick("yellow", "yellow", "white")
    bill = pal.pick("orange", unlike=(body,))
    dark, n = pal.fixed("black" if body.name != "black" else "white"), rng.uniform(0.5, 0.6)
    z = rng.uniform(0.66, 0.78)
    parts = [
        ball(body, (0, 0, 0.3), (n, 0.38, 0.32)), ball(body, (0.3, 0, z), 0.27), rod(body, (0.26, 0, 0.4), (0.3, 0, z), 0.19),
        ball(bill, (0.57, 0, z - 0.04), (0.15, 0.14, 0.055)), *eyes(dark, (0.5, 0.14, z + 0.09), 0.05),
        *pair(ball, body, (-0.08, 0.35, 0.36), (0.28, 0.09, 0.17), rotation=rotation_from_euler(0, 12, 0)),
        stump(body, (-n + 0.06, 0, 0.46), 0.17, 0.17, 0.2, rotation=rotation_from_euler(0, -48, 0)),
    ]  # fmt: skip
    return parts, Words(("duck",), body, pal.adjectives, [(bill, "beak|bill")], pal.typical)


def _four_legs(paint: Paint, x: float, y: float, top: float, radius: float) -> list[Part]:
    return [rod(paint, (s * x, t * y, top), (s * x, t * y, radius), radius) for s in (1, -1) for t in (1, -1)]


def dog(rng: random.Random) -> Built:
    """Standing, with hanging ears, a snout, a collar and a raised tail."""
    pal = Palette(rng, glossy=0.05)
    fur, dark = pal.pick("brown", "white", "black", "beige"), pal.fixed("black")
    ear = pal.pick("brown", "black", unlike=(fur,))
    collar = pal.pick("red", "blue", unlike=(fur, ear))
    n, h = rng.uniform(0.3, 0.42), rng.uniform(0.36, 0.46)
    x, z = n + 0.16, h + 0.42
    eye = pal.fixed("white") if fur.name == "black" else dark
    parts = [
        rod(fur, (-n, 0, h), (n, 0, h + 0.03), 0.22), *_four_legs(fur, n, 0.12, h, 0.09), rod(fur, (n, 0, h + 0.05), (x, 0, z), 0.16),
        ball(fur, (x, 0, z), (0.24, 0.23, 0.22)), rod(fur, (x + 0.1, 0, z - 0.07), (x + 0.28, 0, z - 0.08), 0.12),
        ball(dark if fur.name != "black" else pal.fixed("brown"), (x + 0.39, 0, z - 0.03), 0.065), *eyes(eye, (x + 0.19, 0.11, z + 0.08), 0.045),
        *pair(ball, ear, (x - 0.03, 0.23, z), (0.11, 0.06, 0.2)), rod(ear, (-n - 0.15, 0, h + 0.1), (-n - 0.36, 0, h + 0.38), 0.065),
        ring(collar, (n + 0.09, 0, h + 0.22), 0.16, 0.05, rotation=rotation_from_euler(0, 20, 0)),
    ]  # fmt: skip
    return parts, Words(
        ("dog",), fur, sized(n, 0.33, 0.39, "small", "long"), [(ear, "ears"), (collar, "collar")], pal.typical
    )


def cat(rng: random.Random) -> Built:
    """Sitting, with pointed ears, a pink nose and a curled tail."""
    pal = Palette(rng, glossy=0.05)
    fur = pal.pick("grey", "orange", "black", "white")
    coat = (
        pal.patterned(fur, "stripes", 4.5, make_paint(rng, "brown" if fur.name != "brown" else "black"))
        if rng.random() < 0.25
        else fur
    )
    chest, nose = pal.pick("white", unlike=(fur,)), pal.fixed("pink")
    eye = pal.pick("green", "yellow", unlike=(fur,))
    z = rng.uniform(0.82, 0.95)
    parts = [
        ball(coat, (-0.08, 0, 0.3), (0.33, 0.3, 0.32)), rod(coat, (0, 0, 0.4), (0.08, 0, z - 0.12), 0.2), ball(chest, (0.13, 0, 0.48), (0.16, 0.15, 0.24)),
        ball(fur, (0.12, 0, z), (0.26, 0.29, 0.25)), *pair(stump, fur, (0.1, 0.17, z + 0.25), 0.12, 0.13, 0.1),
        ball(chest, (0.33, 0, z - 0.08), (0.1, 0.12, 0.08)), ball(nose, (0.42, 0, z - 0.04), 0.045), *eyes(eye, (0.34, 0.12, z + 0.05), 0.06),
        *[rod(fur, (0.16, s * 0.13, 0.42), (0.24, s * 0.13, 0.08), 0.085) for s in (1, -1)], *pair(ball, chest, (0.29, 0.13, 0.06), (0.12, 0.09, 0.07)),
        rod(coat, (-0.35, 0, 0.15), (-0.6, 0.05, 0.25), 0.075), rod(coat, (-0.6, 0.05, 0.25), (-0.62, 0.05, 0.62), 0.075),
    ]  # fmt: skip
    adjectives = ["striped"] if coat is not fur else []
    return parts, Words(("cat",), fur, adjectives, [(chest, "chest|paws"), (eye, "eyes")], pal.typical)


def pig(rng: random.Random) -> Built:
    """A barrel-shaped body, short legs, a flat snout, pointed ears and a curly tail."""
    pal = Palette(rng, glossy=0.2)
    skin = pal.pick("pink")
    snout, dark = pal.pick("pink", "brown", unlike=() if pal.typical else (skin,)), pal.fixed("black")
    fat = rng.uniform(0.32, 0.4)
    parts = [
        ball(skin, (0, 0, 0.48), (0.52, fat, fat)), *_four_legs(skin, 0.26, 0.17, 0.35, 0.105), ball(skin, (0.48, 0, 0.6), (0.25, 0.26, 0.25)),
        stump(snout, (0.72, 0, 0.56), 0.125, 0.08, rotation=ALONG_X), *pair(ball, dark, (0.8, 0.05, 0.56), 0.034),
        *eyes(dark if skin.name != "black" else pal.fixed("white"), (0.67, 0.13, 0.7), 0.045), *pair(stump, skin, (0.42, 0.17, 0.85), 0.1, 0.1, 0.15),
        ring(skin, (-0.56, 0, 0.58), 0.08, 0.04, rotation=rotation_from_euler(90, 0, 0)),
    ]  # fmt: skip
    return parts, Words(
        ("pig",),
        skin,
        pal.adjectives + sized(fat, 0.33, 0.375, "thin", "fat"),
        [] if snout.name == skin.name else [(snout, "snout")],
        pal.typical,
    )


def penguin(rng: random.Random) -> Built:
    """An upright bird with a white belly, flippers, a beak and feet."""
    pal = Palette(rng, glossy=0.2)
    coat = pal.pick("black")
    belly = make_paint(rng, "white" if coat.name != "white" else "beige")
    beak = pal.pick("orange", "yellow", unlike=(coat, belly))
    tall = rng.uniform(0.45, 0.55)
    z = 2 * tall + 0.02
    parts = [
        ball(coat, (0, 0, tall + 0.04), (0.34, 0.37, tall)), ball(belly, (0.1, 0, tall), (0.28, 0.28, 0.84 * tall)), ball(coat, (0.02, 0, z), (0.26, 0.27, 0.25)),
        *pair(ball, belly, (0.17, 0.1, z), (0.1, 0.1, 0.12)), *eyes(pal.fixed("black" if coat.name != "black" else "brown"), (0.26, 0.1, z + 0.02), 0.04),
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
        ball(body, (0, 0, 0.5), (0.42, 0.3, 0.3), rotation=rotation_from_euler(0, -25, 0)), ball(belly, (0.1, 0, 0.45), (0.3, 0.24, 0.24)),
        ball(body, (0.3, 0, 0.85), 0.24), stump(beak, (0.57, 0, 0.84), 0.09, 0.11, 0.1, rotation=ALONG_X), *eyes(dark, (0.47, 0.13, 0.92), 0.045),
        *pair(ball, wing, (-0.1, 0.28, 0.5), (0.32, 0.08, 0.18), rotation=rotation_from_euler(0, -25, 0)),
        box(wing, (-0.5, 0, 0.33), (0.24, 0.11, 0.05), rotation=rotation_from_euler(0, -25, 0)),
        *[rod(beak, (0.05, s * 0.11, 0.3), (0.05, s * 0.11, 0.04), 0.045) for s in (1, -1)], *pair(ball, beak, (0.12, 0.11, 0.04), (0.13, 0.07, 0.045)),
    ]  # fmt: skip
    details = [(belly, "belly"), (beak, "beak")] + ([(wing, "wings")] if wing is not body else [])
    return parts, Words(("bird",), body, [], details, pal.typical)


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


def ladybug(rng: random.Random) -> Built:
    """A dotted dome with a dark head, feelers and six legs."""
    pal = Palette(rng, glossy=0.5)
    dark = pal.fixed("black")
    shell = pal.pick("red", unlike=(dark,))
    top = pal.patterned(shell, "dots", rng.uniform(3.0, 4.0), dark)
    parts = [
        ball(top, (0, 0, 0.26), (0.55, 0.47, 0.42)), box(dark, (0, 0, 0.12), (0.42, 0.36, 0.08), rounding=0.07), ball(dark, (0.5, 0, 0.25), (0.22, 0.26, 0.22)),
        *eyes(pal.fixed("white"), (0.64, 0.13, 0.34), 0.07), *[rod(dark, (0.55, s * 0.1, 0.4), (0.72, s * 0.2, 0.64), 0.04) for s in (1, -1)],
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
