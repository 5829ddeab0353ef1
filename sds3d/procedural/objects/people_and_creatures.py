"""People, robots and fairy-tale creatures; they look toward +x."""

from __future__ import annotations

import random

from sds3d.procedural.objects.shapes import ALONG_X, Built, arc, around, ball, box, eyes, melted, pair, ring, rod, stump
from sds3d.procedural.objects.vocabulary import Paint, Palette, Words, sized
from sds3d.procedural.parts import rotation_from_euler


def astronaut(rng: random.Random) -> Built:
    """A padded suit with a round helmet, a dark visor, a backpack and a panel on the chest."""
    pal = Palette(rng, glossy=0.2)
    suit = pal.pick("white", "white", "orange")
    trim = pal.pick("red", "blue", "orange", unlike=(suit,))
    glass = pal.pick("gold", "black", unlike=(suit, trim))
    pack, fat = pal.fixed("grey"), rng.uniform(0.24, 0.3)
    parts = [
        *melted(0.06, [
            ball(suit, (0, 0, 0.66), (0.23, fat, 0.32)),
            *[rod(suit, (0, s * 0.14, 0.46), (0.02, s * 0.17, 0.16), 0.125) for s in (1, -1)],
            *[rod(suit, (0, s * 0.24, 0.82), (0.12, s * 0.44, 0.56), 0.1) for s in (1, -1)],
        ]),
        ball(suit, (0.02, 0, 1.14), 0.29), ball(glass, (0.12, 0, 1.14), (0.215, 0.23, 0.2)),
        ring(trim, (0.0, 0, 0.93), 0.18, 0.05),
        box(pack, (-0.25, 0, 0.72), (0.11, 0.22, 0.26), rounding=0.05), box(trim, (0.22, 0, 0.74), (0.05, 0.1, 0.075)),
        *pair(ball, trim, (0.15, 0.47, 0.52), 0.11),
        *pair(ball, trim, (0.08, 0.17, 0.08), (0.2, 0.13, 0.1)),
    ]  # fmt: skip
    details = [(glass, "visor"), (trim, "gloves|boots"), (pack, "backpack")]
    return parts, Words(("astronaut",), suit, [], details, pal.typical)


def knight(rng: random.Random) -> Built:
    """A figure in armor with a plumed helmet and a shield."""
    pal = Palette(rng, glossy=0)
    steel = pal.pick("silver", "silver", "gold", "black") if pal.typical else pal.fixed("silver", "gold", "bronze")
    plume = pal.pick("red", "blue", unlike=(steel,))
    shield, slit = pal.pick("blue", "red", unlike=(steel, plume)), pal.fixed("black")
    z = rng.uniform(1.02, 1.14)
    parts = [
        stump(steel, (0, 0, 0.64), 0.21, 0.26, 1.3, rounding=0.06),
        *[rod(steel, (0, s * 0.12, 0.44), (0.02, s * 0.15, 0.12), 0.11) for s in (1, -1)],
        *pair(box, steel, (0.07, 0.15, 0.06), (0.18, 0.1, 0.07)), *pair(ball, steel, (0, 0.33, 0.84), 0.14),
        *[rod(steel, (0, s * 0.36, 0.8), (0.12, s * 0.42, 0.52), 0.085) for s in (1, -1)],
        stump(steel, (0, 0, z), 0.22, 0.2, 0.95), ball(steel, (0, 0, z + 0.17), (0.21, 0.21, 0.13)),
        box(slit, (0.19, 0, z + 0.04), (0.04, 0.16, 0.03)),
        arc(plume, (-0.06, 0, z + 0.16), 0.24, 70, 0.085, taper=0.7),
        stump(shield, (0.28, 0.42, 0.56), 0.25, 0.04, rotation=ALONG_X),
        ball(steel, (0.32, 0.42, 0.56), (0.06, 0.09, 0.09)),
        rod(steel, (0.16, -0.43, 0.5), (0.3, -0.43, 1.25), 0.045),
        rod(plume, (0.2, -0.55, 0.66), (0.2, -0.31, 0.66), 0.045),
        rod(plume, (0.12, -0.43, 0.34), (0.16, -0.43, 0.5), 0.05),
    ]  # fmt: skip
    details = [(plume, "plume|feather"), (shield, "shield")]
    return parts, Words(("knight",), steel, [], details, pal.typical)


def gnome(rng: random.Random) -> Built:
    """A short man with a pointed hat, a long beard, a coat and boots."""
    pal = Palette(rng, glossy=0.1)
    hat = pal.pick("red", "red", "green")
    coat = pal.pick("blue", "green", unlike=(hat,))
    skin, dark = pal.fixed("beige"), pal.fixed("black")
    beard, boots = (
        pal.pick("white", unlike=(coat, hat)) if pal.typical else pal.fixed("white", "grey"),
        pal.fixed("brown"),
    )
    peak = rng.uniform(0.3, 0.45)
    z = 0.84
    parts = [
        stump(coat, (0, 0, 0.42), 0.36, 0.32, 0.68, rounding=0.06), ball(skin, (0.02, 0, z), 0.24),
        stump(hat, (0, 0, z + 0.12 + peak), 0.29, peak, 0.05), ring(hat, (0, 0, z + 0.13), 0.24, 0.065),
        ball(skin, (0.27, 0, z + 0.0), (0.08, 0.08, 0.075)), *eyes(dark, (0.22, 0.1, z + 0.07), 0.035),
        stump(beard, (0.17, 0, z - 0.24), 0.06, 0.24, 3.4, rounding=0.03),
        *pair(ball, beard, (0.22, 0.1, z - 0.08), (0.07, 0.12, 0.06)),
        *[rod(coat, (0.02, s * 0.24, 0.64), (0.16, s * 0.42, 0.44), 0.09) for s in (1, -1)],
        *pair(ball, skin, (0.2, 0.46, 0.39), 0.09),
        *pair(ball, boots, (0.1, 0.17, 0.08), (0.22, 0.14, 0.11)), ring(dark, (0, 0, 0.38), 0.31, 0.04),
    ]  # fmt: skip
    details = [(hat, "pointed hat"), (beard, "beard"), (coat, "coat|jacket"), (boots, "boots")]
    return parts, Words(("gnome",), None, sized(peak, 0.33, 0.42, "short", "tall"), details, pal.typical)


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
    details: list[tuple[Paint | str, str]] = [(scarf, "scarf"), ("carrot", "nose")]
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
        box(body, (0, 0, z), (0.2, w, h)), box(panel, (0.19, 0, z + 0.05), (0.05, 0.6 * w, 0.4 * h)),
        stump(limbs, (0, 0, top + 0.03), 0.09, 0.08),
        box(body, (0, 0, top + 0.27), (0.2, 0.26, 0.2)), *pair(ball, eye, (0.2, 0.12, top + 0.32), 0.075),
        box(limbs, (0.2, 0, top + 0.16), (0.03, 0.14, 0.035)),
        rod(limbs, (0, 0, top + 0.4), (0, 0, top + 0.6), 0.04), ball(eye, (0, 0, top + 0.65), 0.08),
        *pair(ball, limbs, (0, 0.27, top + 0.27), 0.08),
        *[rod(limbs, (0, s * w, z + 0.5 * h), (0.0, s * (w + 0.18), z - 0.3), 0.08) for s in (1, -1)],
        *pair(ball, body, (0, w + 0.18, z - 0.32), 0.11),
        *pair(stump, limbs, (0, 0.55 * w, 0.3), 0.09, 0.22),
        *pair(box, body, (0.06, 0.55 * w, 0.08), (0.18, 0.13, 0.09)),
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
        ball(fur, (0, 0, 0.38), (fat, fat, 0.4)), ball(light, (0.1, 0, 0.37), (fat - 0.05, 0.75 * fat, 0.3)),
        ball(fur, (0.03, 0, 0.95), (0.3, 0.34, 0.3)),
        *pair(ball, fur, (0, 0.27, 1.18), (0.09, 0.13, 0.13)),
        *pair(ball, light, (0.05, 0.27, 1.18), (0.07, 0.08, 0.08)),
        ball(light, (0.27, 0, 0.87), (0.13, 0.15, 0.11)), ball(dark, (0.38, 0, 0.91), (0.05, 0.065, 0.05)),
        *eyes(dark, (0.28, 0.13, 1.02), 0.05),
        *[rod(fur, (0.02, s * 0.28, 0.6), (0.2, s * 0.45, 0.38), 0.12) for s in (1, -1)],
        *[rod(fur, (0.1, s * 0.22, 0.14), (0.42, s * 0.3, 0.14), 0.14) for s in (1, -1)],
        *pair(ball, light, (0.53, 0.3, 0.14), (0.05, 0.1, 0.1)),
    ]  # fmt: skip
    details = [(light, "belly|paws")]
    if rng.random() < 0.5:
        parts += [*pair(ball, bow, (0.27, 0.11, 0.68), (0.07, 0.12, 0.08)), ball(bow, (0.3, 0, 0.68), 0.07)]
        details.append((bow, "bow tie"))
    return parts, Words(("teddy bear",), fur, sized(fat, 0.34, 0.385, "small", "fat"), details, pal.typical)


def ghost(rng: random.Random) -> Built:
    """A sheet with a round head, a wavy hem, arms, and a dark face."""
    pal = Palette(rng, glossy=0)
    cloth = pal.pick("white")
    dark, tall = pal.fixed("black" if cloth.name != "black" else "white"), rng.uniform(0.4, 0.55)
    z = 0.2 + 2 * tall
    parts = melted(0.06, [
        rod(cloth, (0, 0, 0.3), (0, 0, z), 0.4, taper=0.78),
        *[ball(cloth, (x, y, 0.16), (0.13, 0.13, 0.16)) for x, y, _ in around(7, 0.33)],
        *[rod(cloth, (0.05, s * 0.3, 0.75 * z), (0.26, s * 0.52, 0.72 * z), 0.1) for s in (1, -1)],
    ])  # fmt: skip
    parts += [
        *pair(ball, dark, (0.28, 0.12, z + 0.07), (0.06, 0.065, 0.1)),
        ball(dark, (0.33, 0, z - 0.14), (0.06, 0.07, 0.09)),
    ]
    return parts, Words(
        ("ghost",), cloth, sized(tall, 0.44, 0.51, "short", "tall"), [(dark, "eyes|mouth")], pal.typical
    )


def alien(rng: random.Random) -> Built:
    """A thin body under a large head with slanted dark eyes and antennas."""
    pal = Palette(rng, glossy=0.3)
    skin = pal.pick("green", "green", "grey", "purple")
    eye = pal.fixed("black" if skin.name != "black" else "white")
    head = rng.uniform(0.3, 0.38)
    z = 0.78 + head
    parts = melted(0.05, [
        ball(skin, (0, 0, z), (head, 1.05 * head, 0.95 * head)),
        ball(skin, (0.06, 0, z - 0.6 * head), (0.6 * head, 0.6 * head, 0.5 * head)),
        rod(skin, (0, 0, 0.42), (0, 0, 0.74), 0.17, taper=0.7),
        *[rod(skin, (0, s * 0.14, 0.68), (0.1, s * 0.42, 0.42), 0.06) for s in (1, -1)],
        *[rod(skin, (0, s * 0.1, 0.4), (0, s * 0.16, 0.08), 0.085) for s in (1, -1)],
        *pair(ball, skin, (0.07, 0.17, 0.06), (0.16, 0.1, 0.06)),
        *[rod(skin, (0, s * 0.12, z + 0.8 * head), (0.02, s * 0.24, z + head + 0.24), 0.035) for s in (1, -1)],
    ])  # fmt: skip
    parts += [
        *pair(ball, skin, (0.02, 0.25, z + head + 0.27), 0.075),
        *[ball(eye, (0.78 * head, s * 0.44 * head, z - 0.02), (0.09, 0.09, 0.145), rotation=rotation_from_euler(s * -28, 0, 0)) for s in (1, -1)],
    ]  # fmt: skip
    return parts, Words(
        ("alien",), skin, pal.adjectives + sized(head, 0.32, 0.36, "small", "big headed"), [(eye, "eyes")], pal.typical
    )
