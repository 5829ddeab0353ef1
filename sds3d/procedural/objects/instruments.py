"""Musical instruments."""

from __future__ import annotations

import math
import random

from sds3d.procedural.objects.shapes import ALONG_X, ALONG_Y, Built, arc, ball, box, pair, ring, rod, stump
from sds3d.procedural.objects.vocabulary import Palette, Words, darker, make_paint, sized
from sds3d.procedural.parts import Pattern, rotation_from_euler


def guitar(rng: random.Random) -> Built:
    """Upright, its face to +x: a waisted body with a sound hole, a neck and a head."""
    pal = Palette(rng, glossy=0.4)
    body = pal.pick("wooden", "brown", "red", also=("wooden",))
    neck = make_paint(rng, "brown" if body.name != "brown" else "black")
    dark, light = pal.fixed("black"), pal.fixed("white")
    w = rng.uniform(0.34, 0.42)
    parts = [
        stump(body, (0, 0, 0.36), w, 0.11, rotation=ALONG_X),
        stump(body, (0, 0, 0.78), 0.78 * w, 0.11, rotation=ALONG_X), box(body, (0, 0, 0.56), (0.11, 0.24, 0.25)),
        stump(dark, (0.09, 0, 0.62), 0.13, 0.04, rotation=ALONG_X), box(dark, (0.11, 0, 0.26), (0.04, 0.15, 0.045)),
        box(neck, (0.08, 0, 1.24), (0.055, 0.075, 0.5)),
        box(neck, (0.08, 0, 1.8), (0.055, 0.12, 0.14)),
        *[ball(light, (0.08, s * 0.13, 1.8 + z), 0.05) for s in (1, -1) for z in (-0.07, 0.07)],
        box(light, (0.135, 0, 0.75), (0.012, 0.05, 0.5)),
    ]  # fmt: skip
    return parts, Words(("guitar",), body, pal.adjectives, [(neck, "neck"), (body, "body")], pal.typical)


def violin(rng: random.Random) -> Built:
    """Upright, its face to +x: a waisted body, a dark neck, strings, a scroll, and a bow beside it."""
    pal = Palette(rng, glossy=0.5)
    body = pal.pick("wooden", "brown", "red", "orange", also=("wooden",))
    neck = pal.fixed("black") if body.name != "black" else pal.fixed("brown")
    light = pal.fixed("white") if body.name != "white" else pal.fixed("gold")
    w = rng.uniform(0.3, 0.36)
    parts = [
        stump(body, (0, 0, 0.32), w, 0.1, rotation=ALONG_X), stump(body, (0, 0, 0.84), 0.82 * w, 0.1, rotation=ALONG_X),
        box(body, (0, 0, 0.58), (0.1, 0.62 * w, 0.26)),
        box(neck, (0.1, 0, 1.06), (0.05, 0.055, 0.5)), stump(body, (0.06, 0, 1.62), 0.085, 0.06, rotation=ALONG_Y),
        *[rod(neck, (0.1, s * 0.05, z), (0.1, s * 0.15, z), 0.035) for s, z in ((1, 1.45), (-1, 1.52))],
        box(light, (0.13, 0, 0.46), (0.05, 0.1, 0.025)), box(light, (0.14, 0, 0.85), (0.012, 0.04, 0.62)),
        *pair(box, neck, (0.1, 0.16, 0.56), (0.012, 0.025, 0.11)),
        box(neck, (0.11, 0, 0.24), (0.04, 0.06, 0.12)), rod(neck, (0.05, w + 0.06, 0.02), (0.05, w + 0.02, 1.35), 0.03),
        rod(neck, (0.02, w - 0.16, 0.35), (0.05, w + 0.05, 0.35), 0.04),
    ]  # fmt: skip
    return parts, Words(("violin",), body, pal.adjectives, [(neck, "neck|bow")], pal.typical)


def piano(rng: random.Random) -> Built:
    """An upright piano: a case, a shelf with white and black keys, legs and a music stand."""
    pal = Palette(rng, glossy=0.4)
    case = pal.pick("black", "wooden", "white", also=("wooden",))
    white = pal.fixed("white") if case.name != "white" else pal.fixed("beige")
    dark = pal.fixed("black") if case.name != "black" else pal.fixed("grey")
    w, h = rng.uniform(0.6, 0.75), rng.uniform(0.5, 0.62)
    parts = [
        box(case, (-0.18, 0, h), (0.18, w, h)), box(case, (-0.16, 0, 2 * h), (0.23, w + 0.03, 0.04)),
        box(case, (0.16, 0, 0.62 * h), (0.22, w, 0.08)),
        box(white, (0.2, 0, 0.62 * h + 0.085), (0.15, 0.9 * w, 0.03), rounding=0.0),
        *pair(stump, case, (0.3, w - 0.08, 0.3 * h), 0.055, 0.3 * h),
        box(white, (0.02, 0, 1.42 * h), (0.03, 0.4 * w, 0.17 * h), rounding=0.0, rotation=rotation_from_euler(0, -12, 0)),
        box(case, (0.0, 0, 0.06), (0.34, w, 0.06)),
    ]  # fmt: skip
    keys = 12
    parts += [
        box(dark, (0.13, w * (-0.8 + 1.6 * k / (keys - 1)), 0.62 * h + 0.12), (0.085, 0.026, 0.03), rounding=0.0)
        for k in range(keys)
    ]
    return parts, Words(
        ("piano",), case, pal.adjectives + sized(w, 0.64, 0.71, "small", "wide"), [(white, "keys")], pal.typical
    )


def xylophone(rng: random.Random) -> Built:
    """Bars in all colors, of decreasing length, on two rails, with a mallet."""
    pal = Palette(rng, glossy=0.3)
    frame = pal.pick("wooden", "white", also=("wooden",))
    n = rng.choice((5, 6, 7))
    hues = ("red", "orange", "yellow", "green", "teal", "blue", "purple")
    parts = [*[rod(frame, (s * 0.3, -0.75, 0.08), (s * 0.17, 0.75, 0.08), 0.06) for s in (1, -1)]]
    for k in range(n):
        y = -0.68 + 1.36 * k / (n - 1)
        parts.append(box(pal.fixed(hues[k]), (0, y, 0.18), (0.46 - 0.2 * k / (n - 1), 0.57 / n, 0.055)))
    parts += [
        rod(frame, (0.4, -0.5, 0.3), (-0.2, 0.3, 0.28), 0.035),
        ball(pal.pick("red", "white", unlike=(frame,)), (-0.25, 0.36, 0.3), 0.085),
    ]
    return parts, Words(
        ("xylophone",), None, sized(n, 5, 6, "small", "long"), [("colorful", "bars"), (frame, "rails")], True
    )


def trumpet(rng: random.Random) -> Built:
    """A looped tube that flares to a bell in front, with three valves."""
    pal = Palette(rng, glossy=0.5)
    brass = pal.pick("gold", "gold", "silver")
    button = pal.pick("white", "red", unlike=(brass,))
    n, flare = rng.uniform(0.5, 0.62), rng.uniform(4.2, 5.4)
    side = rotation_from_euler(0, 90, 0)
    parts = [
        rod(brass, (-n, 0, 0.3), (n, 0, 0.3), 0.055),
        stump(brass, (n + 0.16, 0, 0.3), 0.055, 0.2, flare, rotation=ALONG_X, rounding=0.0, blend=0.04),
        stump(darker(brass), (n + 0.26, 0, 0.3), 0.03, 0.16, 1.1 * flare, rotation=ALONG_X, cut=True),
        rod(brass, (-0.5 * n, 0, 0.02), (0.6 * n, 0, 0.02), 0.05),
        arc(brass, (0.6 * n, 0, 0.16), 0.14, 90, 0.05, rotation=side),
        arc(brass, (-0.5 * n, 0, 0.16), 0.14, 90, 0.05, rotation=rotation_from_euler(0, -90, 0)),
        *[stump(brass, (x, 0, 0.17), 0.075, 0.22) for x in (-0.16, 0.02, 0.2)],
        *[stump(button, (x, 0, 0.42), 0.06, 0.05) for x in (-0.16, 0.02, 0.2)],
        stump(brass, (-n - 0.07, 0, 0.3), 0.1, 0.08, 0.5, rotation=ALONG_X),
    ]  # fmt: skip
    return parts, Words(
        ("trumpet",),
        brass,
        pal.adjectives + sized(n, 0.54, 0.6, "short", "long"),
        [(button, "valves|buttons")],
        pal.typical,
    )


def drum(rng: random.Random) -> Built:
    """A shell with rims and white skins, with two sticks on top."""
    pal = Palette(rng, glossy=0.4)
    shell = pal.pick("red", "blue")
    rim, skin, stick = pal.pick("gold", "white", "yellow", unlike=(shell,)), pal.fixed("white"), pal.fixed("wooden")
    h = rng.uniform(0.26, 0.42)
    parts = [stump(shell, (0, 0, h), 0.5, h, rounding=0.0), stump(skin, (0, 0, 2 * h), 0.46, 0.05)]
    parts += [ring(rim, (0, 0, z), 0.49, 0.055) for z in (0.03, 2 * h)]
    n = 8
    for k in range(n):
        a = 2 * math.pi * k / n
        c, s = 0.5 * math.cos(a), 0.5 * math.sin(a)
        parts.append(rod(rim, (c, s, 0.05), (c, s, 2 * h - 0.05), 0.04))
    parts += [rod(stick, (-0.4, y, 2 * h + 0.09), (0.4, -y * 0.4, 2 * h + 0.12), 0.045) for y in (0.2, -0.25)]
    return parts, Words(
        ("drum",),
        shell,
        pal.adjectives + sized(h, 0.3, 0.38, "flat", "tall"),
        [(rim, "rim"), (skin, "top")],
        pal.typical,
    )


def maraca(rng: random.Random) -> Built:
    """A patterned egg that rattles, on a stick."""
    pal = Palette(rng, glossy=0.4)
    body = pal.pick("red", "yellow", "green", "orange")
    second = pal.pick("white", "yellow", "green", unlike=(body,))
    stick = pal.pick("wooden", "black", unlike=(body,), also=("wooden",))
    pattern: Pattern = rng.choice(("stripes", "dots", "checks", "plain"))
    fat = rng.uniform(0.3, 0.38)
    coat = pal.patterned(body, pattern, 3.6, second) if pattern != "plain" else body
    parts = [
        ball(coat, (0, 0, 1.05), (fat, fat, 0.44)),
        rod(stick, (0, 0, 0.08), (0, 0, 0.7), 0.075),
        ball(stick, (0, 0, 0.06), 0.11),
        ring(second, (0, 0, 0.66), 0.1, 0.04),
    ]
    details = [(stick, "handle|stick")] + ([(second, pattern)] if pattern != "plain" else [])
    return parts, Words(("maraca",), body, pal.adjectives + sized(fat, 0.32, 0.36, "thin", "fat"), details, pal.typical)


def bell(rng: random.Random) -> Built:
    """A hand bell: a flared cup with a rim, a clapper and a handle."""
    pal = Palette(rng, glossy=0.4)
    metal = pal.pick("gold", "gold", "silver", "bronze")
    grip = pal.pick("wooden", "black", "red", unlike=(metal,), also=("wooden",))
    h, wide = rng.uniform(0.3, 0.42), rng.uniform(0.42, 0.5)
    parts = [
        stump(metal, (0, 0, h), wide, h, 0.56, rounding=0.03),
        ball(metal, (0, 0, 2 * h - 0.04), (0.56 * wide, 0.56 * wide, 0.16), blend=0.04),
        ring(metal, (0, 0, 0.03), wide, 0.055),
        stump(darker(metal), (0, 0, h - 0.09), wide - 0.07, h, 0.5, cut=True), 
        rod(grip, (0, 0, 2 * h + 0.1), (0, 0, 2 * h + 0.46), 0.075), ball(grip, (0, 0, 2 * h + 0.5), 0.11),
    ]  # fmt: skip
    return parts, Words(
        ("bell",), metal, pal.adjectives + sized(wide, 0.44, 0.48, "thin", "wide"), [(grip, "handle|grip")], pal.typical
    )
