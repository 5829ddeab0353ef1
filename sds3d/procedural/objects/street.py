"""Street furniture."""

from __future__ import annotations

import random

from sds3d.procedural.objects.shapes import ALONG_X, Built, ball, box, rod, stump
from sds3d.procedural.objects.vocabulary import Palette, Words, darker, glowing, sized


def traffic_cone(rng: random.Random) -> Built:
    """A cone with bands on a square foot."""
    pal = Palette(rng)
    cone_paint = pal.pick("orange")
    band = pal.pick("white", unlike=(cone_paint,))
    h = rng.uniform(0.5, 0.65)
    parts = [box(cone_paint, (0, 0, 0.05), (0.42, 0.42, 0.06)), stump(cone_paint, (0, 0, h + 0.05), 0.3, h, 0.2)]
    for k in (0.75, 1.3):
        r = 0.3 * (1 - 0.8 * (k * h - 0.06) / (2 * h)) + 0.012
        parts.append(stump(band, (0, 0, k * h + 0.05), r, 0.09, (r - 0.072 / h * 0.3) / r, rounding=0.0))
    return parts, Words(("traffic cone",), cone_paint, pal.adjectives, [(band, "stripes|bands")], pal.typical)


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


def mailbox(rng: random.Random) -> Built:
    """A rounded box on a post with a flag and a door."""
    pal = Palette(rng, glossy=0.3)
    body = pal.pick("red", "blue", "grey", "white")
    flag = pal.pick("red", "yellow", unlike=(body,))
    post, h = pal.pick("wooden", "brown", unlike=(body, flag), also=("wooden",)), rng.uniform(0.32, 0.5)
    z, trim = 2 * h, darker(body)
    parts = [
        box(post, (0, 0, h), (0.08, 0.08, h)), box(post, (0, 0, 0.04), (0.2, 0.2, 0.05)),
        box(body, (0, 0, z + 0.12), (0.46, 0.24, 0.14), rounding=0.02),
        stump(body, (0, 0, z + 0.26), 0.24, 0.46, rotation=ALONG_X, rounding=0.02),
        stump(trim, (0.45, 0, z + 0.25), 0.2, 0.03, rotation=ALONG_X),
        box(trim, (0.45, 0, z + 0.14), (0.03, 0.2, 0.1), rounding=0.0),
        ball(flag, (0.49, 0, z + 0.3), 0.045), rod(flag, (0.05, 0.26, z + 0.22), (0.05, 0.26, z + 0.62), 0.035),
        box(flag, (-0.06, 0.26, z + 0.58), (0.13, 0.03, 0.08), rounding=0.01),
    ]  # fmt: skip
    return parts, Words(
        ("mailbox",),
        body,
        pal.adjectives + sized(h, 0.37, 0.45, "short", "tall"),
        [(flag, "little flag"), (post, "post")],
        pal.typical,
    )
