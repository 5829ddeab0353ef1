"""Mammals; they look toward +x."""

from __future__ import annotations

import random

from sds3d.procedural.objects.shapes import ALONG_X, Built, arc, around, ball, eyes, melted, pair, ring, rod, stump
from sds3d.procedural.objects.vocabulary import Paint, Palette, Words, make_paint, sized
from sds3d.procedural.parts import Part, rotation_from_euler


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
        rod(fur, (-n, 0, h), (n, 0, h + 0.03), 0.22), *_four_legs(fur, n, 0.12, h, 0.09),
        rod(fur, (n, 0, h + 0.05), (x, 0, z), 0.16),
        ball(fur, (x, 0, z), (0.24, 0.23, 0.22)), rod(fur, (x + 0.1, 0, z - 0.07), (x + 0.28, 0, z - 0.08), 0.12),
        ball(dark if fur.name != "black" else pal.fixed("brown"), (x + 0.39, 0, z - 0.03), 0.065),
        *eyes(eye, (x + 0.19, 0.11, z + 0.08), 0.045),
        *pair(ball, ear, (x - 0.03, 0.23, z), (0.11, 0.06, 0.2)),
        rod(ear, (-n - 0.15, 0, h + 0.1), (-n - 0.36, 0, h + 0.38), 0.065),
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
        ball(coat, (-0.08, 0, 0.3), (0.33, 0.3, 0.32)), rod(coat, (0, 0, 0.4), (0.08, 0, z - 0.12), 0.2),
        ball(chest, (0.13, 0, 0.48), (0.16, 0.15, 0.24)),
        ball(fur, (0.12, 0, z), (0.26, 0.29, 0.25)), *pair(stump, fur, (0.1, 0.17, z + 0.25), 0.12, 0.13, 0.1),
        ball(chest, (0.33, 0, z - 0.08), (0.1, 0.12, 0.08)), ball(nose, (0.42, 0, z - 0.04), 0.045),
        *eyes(eye, (0.34, 0.12, z + 0.05), 0.06),
        *[rod(fur, (0.16, s * 0.13, 0.42), (0.24, s * 0.13, 0.08), 0.085) for s in (1, -1)],
        *pair(ball, chest, (0.29, 0.13, 0.06), (0.12, 0.09, 0.07)),
        rod(coat, (-0.35, 0, 0.15), (-0.6, 0.05, 0.25), 0.075),
        rod(coat, (-0.6, 0.05, 0.25), (-0.62, 0.05, 0.62), 0.075),
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
        ball(skin, (0, 0, 0.48), (0.52, fat, fat)), *_four_legs(skin, 0.26, 0.17, 0.35, 0.105),
        ball(skin, (0.48, 0, 0.6), (0.25, 0.26, 0.25)),
        stump(snout, (0.72, 0, 0.56), 0.125, 0.08, rotation=ALONG_X), *pair(ball, dark, (0.8, 0.05, 0.56), 0.034),
        *eyes(dark if skin.name != "black" else pal.fixed("white"), (0.67, 0.13, 0.7), 0.045),
        *pair(stump, skin, (0.42, 0.17, 0.85), 0.1, 0.1, 0.15),
        ring(skin, (-0.56, 0, 0.58), 0.08, 0.04, rotation=rotation_from_euler(90, 0, 0)),
    ]  # fmt: skip
    return parts, Words(
        ("pig",),
        skin,
        pal.adjectives + sized(fat, 0.33, 0.375, "thin", "fat"),
        [] if snout.name == skin.name else [(snout, "snout")],
        pal.typical,
    )


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
        *pair(ball, fur, (0.22, 0.2, 0.08), (0.2, 0.1, 0.09)),
        *[rod(fur, (0.2, s * 0.14, 0.5), (0.3, s * 0.12, 0.32), 0.08) for s in (1, -1)],
    ]  # fmt: skip
    details = [(inner, "nose|inner ears"), (belly, "belly|tail")]
    return parts, Words(("rabbit",), fur, [], details, pal.typical)


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
        rod(hide, (0.7, 0, z - 0.08), (0.88, 0, 0.42), 0.11, taper=0.75, blend=0.06),
        rod(hide, (0.88, 0, 0.42), (0.98, 0, 0.2), 0.08, taper=0.75, blend=0.03),
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
        *eyes(dark, (0.56, 0.1, top + 0.08), 0.045),
        *[rod(patch, (0.45, s * 0.07, top + 0.1), (0.42, s * 0.08, top + 0.27), 0.04) for s in (1, -1)],
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
        ball(skin, (0.58, 0, 0.72), (0.2, 0.15, 0.17), rotation=rotation_from_euler(0, 30, 0)),
        ball(wool, (0.48, 0, 0.86), (0.15, 0.17, 0.11)),
        *[ball(skin, (0.5, s * 0.21, 0.74), (0.06, 0.12, 0.05), rotation=rotation_from_euler(-s * 25, 0, 0)) for s in (1, -1)],
        *eyes(eye, (0.66, 0.1, 0.79), 0.042),
        *[rod(skin, (x, s * 0.17, 0.4), (x, s * 0.17, 0.07), 0.075) for x in (-0.26, 0.24) for s in (1, -1)],
    ]  # fmt: skip
    return parts, Words(("sheep",), wool, ["woolly"], [(skin, "head|legs")], pal.typical)


def whale(rng: random.Random) -> Built:
    """A fat drop with a pale belly, flippers, a raised fluke and a spout of water."""
    pal = Palette(rng, glossy=0.4)
    skin = pal.pick("blue", "blue", "grey")
    belly = pal.pick("white", "beige", unlike=(skin,))
    water, dark = pal.fixed("white"), pal.fixed("black" if skin.name != "black" else "white")
    fat, spouts = rng.uniform(0.36, 0.44), rng.random() < 0.5
    parts = [
        ball(skin, (0.1, 0, 0.4), (0.62, fat, 0.4)),
        rod(skin, (-0.3, 0, 0.42), (-0.82, 0, 0.68), 0.25, taper=0.35, blend=0.15),
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
