"""Furniture."""

from __future__ import annotations

import math
import random

from sds3d.procedural.objects.shapes import Built, arc, ball, box, four, pair, ring, rod, stump
from sds3d.procedural.objects.vocabulary import Palette, Words, sized


def chair(rng: random.Random) -> Built:
    """A seat on four legs, with a back of slats or a panel."""
    pal = Palette(rng)
    frame = pal.pick("wooden", "brown", also=("wooden",))
    seat = frame if rng.random() < 0.4 else pal.pick("red", "blue", "beige", unlike=(frame,))
    w, leg, back = rng.uniform(0.3, 0.4), rng.uniform(0.32, 0.5), rng.uniform(0.3, 0.55)
    parts = [box(seat, (0, 0, leg), (w, w, 0.055))]
    for x in (-1, 1):
        parts += pair(box, frame, (x * (w - 0.05), w - 0.05, leg / 2), (0.05, 0.05, leg / 2 + 0.02))
    behind = 0.05 - w
    if rng.random() < 0.5:
        parts.append(box(frame, (behind, 0, leg + back), (0.045, w, back + 0.02)))
    else:
        parts += pair(box, frame, (behind, w - 0.05, leg + back), (0.045, 0.05, back + 0.02))
        parts += [box(frame, (behind, 0, leg + k * back), (0.04, w, 0.08)) for k in (1.0, 1.8)]
    words = pal.adjectives + sized(leg + back, 0.7, 0.92, "short", "tall")
    details = [(frame, "legs"), (frame, "back")] + ([(seat, "seat")] if seat is not frame else [])
    return parts, Words(("chair",), frame, words, details, pal.typical)


def table(rng: random.Random) -> Built:
    """A round or square top on four legs or a pillar."""
    pal = Palette(rng)
    top = pal.pick("wooden", "brown", "white", also=("wooden",))
    legs = top if rng.random() < 0.5 else pal.pick("black", "wooden", "white", unlike=(top,))
    h, w, d = rng.uniform(0.35, 0.6), rng.uniform(0.5, 0.75), rng.uniform(0.4, 0.5)
    round_top = rng.random() < 0.4
    parts = [stump(top, (0, 0, h), w, 0.06) if round_top else box(top, (0, 0, h), (d, w, 0.06))]
    if round_top and rng.random() < 0.6:
        parts += [stump(legs, (0, 0, h / 2), 0.1, h / 2 + 0.02), stump(legs, (0, 0, 0.05), 0.35, 0.06, 0.6)]
    else:
        a, b = (0.6 * w, 0.6 * w) if round_top else (d - 0.08, w - 0.08)
        for x in (-a, a):
            parts += pair(stump, legs, (x, b, h / 2), 0.06, h / 2 + 0.02)
    words = pal.adjectives + (["round"] if round_top else []) + sized(h, 0.4, 0.55, "low", "tall")
    details = [] if legs is top else [(top, "top"), (legs, "legs" if len(parts) > 3 else "base")]
    return parts, Words(("table", "table", "desk") if not round_top else ("table",), top, words, details, pal.typical)


def stool(rng: random.Random) -> Built:
    """A round seat on three or four splayed legs joined by a ring."""
    pal = Palette(rng)
    legs = pal.pick("wooden", "brown", "silver", also=("wooden",))
    seat = legs if rng.random() < 0.3 else pal.pick("red", "black", "wooden", unlike=(legs,))
    h, r, n = rng.uniform(0.5, 1.0), rng.uniform(0.28, 0.36), rng.choice((3, 4))
    parts = [stump(seat, (0, 0, h), r, 0.08), ring(legs, (0, 0, 0.35 * h), 0.95 * r, 0.04)]
    for k in range(n):
        c, s = math.cos(2 * math.pi * (k + 0.5) / n), math.sin(2 * math.pi * (k + 0.5) / n)
        parts.append(rod(legs, (1.15 * r * c, 1.15 * r * s, 0.03), (0.7 * r * c, 0.7 * r * s, h), 0.055))
    details = [(seat, "seat"), (legs, "legs")]
    words = pal.adjectives + sized(h, 0.65, 0.85, "short", "tall") + ["round"]
    return parts, Words(("stool", "bar stool") if h > 0.8 else ("stool",), seat, words, details, pal.typical)


def sofa(rng: random.Random) -> Built:
    """Base, back, two arms, two or three cushions, short feet."""
    pal = Palette(rng, glossy=0.05, glossy_words=("leather",))
    cloth = pal.pick("red", "grey", "brown", "blue", "beige")
    cushion = cloth if rng.random() < 0.5 else pal.pick("white", "yellow", "beige", unlike=(cloth,))
    feet, w = pal.fixed("black", "brown"), rng.uniform(0.6, 0.85)
    parts = [
        box(cloth, (0, 0, 0.2), (0.38, w, 0.13), rounding=0.04),
        box(cloth, (-0.32, 0, 0.42), (0.12, w, 0.34), rounding=0.07),
        *pair(box, cloth, (0, w, 0.3), (0.4, 0.12, 0.25), rounding=0.08),
    ]
    n = 3 if w > 0.72 else 2
    for k in range(n):
        y, half = (w - 0.1) * ((2 * k + 1) / n - 1), (w - 0.12) / n
        parts.append(box(cushion, (0.06, y, 0.37), (0.34, half - 0.01, 0.08), rounding=0.05))
    for x in (-0.3, 0.3):
        parts += pair(stump, feet, (x, w - 0.05, 0.04), 0.06, 0.06)
    details = [(cushion, "cushions")] + [(feet, "feet")]
    return parts, Words(("sofa",), cloth, pal.adjectives + sized(w, 0.66, 0.8, "small", "long"), details, pal.typical)


def bed(rng: random.Random) -> Built:
    """Frame with head and foot boards, mattress, blanket and pillows."""
    pal = Palette(rng, glossy=0)
    frame = pal.pick("wooden", "brown", also=("wooden",))
    blanket = pal.pick("blue", "red", "green", "pink", unlike=(frame,))
    sheet = pal.fixed("white")
    if rng.random() < 0.25:
        blanket = pal.patterned(blanket, rng.choice(("stripes", "checks")), 4.0, sheet)
    w, head = rng.uniform(0.4, 0.6), rng.uniform(0.25, 0.45)
    parts = [
        box(frame, (0, 0, 0.2), (0.85, w, 0.1)), box(sheet, (0, 0, 0.34), (0.8, w - 0.03, 0.1), rounding=0.05),
        box(blanket, (0.2, 0, 0.36), (0.62, w, 0.11), rounding=0.05),
        box(frame, (-0.85, 0, 0.2 + head), (0.06, w + 0.03, head + 0.2)),
        box(frame, (0.86, 0, 0.27), (0.06, w + 0.03, 0.27)),
    ]  # fmt: skip
    if w > 0.48:
        parts += pair(box, sheet, (-0.6, 0.24, 0.47), (0.16, 0.2, 0.07), rounding=0.06)
    else:
        parts.append(box(sheet, (-0.6, 0, 0.47), (0.16, 0.28, 0.07), rounding=0.06))
    details = [(blanket, "blanket"), (sheet, "pillows" if w > 0.48 else "pillow"), (frame, "frame")]
    return parts, Words(("bed", "double bed" if w > 0.48 else "single bed"), None, [], details, pal.typical)


def bench(rng: random.Random) -> Built:
    """A park bench: slats for a seat and a back on two iron frames."""
    pal = Palette(rng, glossy=0)
    slat = pal.pick("wooden", "brown", "green", also=("wooden",))
    iron = pal.pick("black", "grey", unlike=(slat,))
    w, back = rng.uniform(0.7, 0.9), rng.uniform(0.28, 0.4)
    parts = [box(slat, (x, 0, 0.42), (0.085, w, 0.04)) for x in (-0.2, 0.0, 0.2)]
    parts += [box(slat, (-0.34 - 0.1 * z, 0, 0.55 + z), (0.035, w, 0.075)) for z in (0.06, 0.06 + 0.7 * back)]
    for s in (1, -1):
        y = 0.82 * s * w
        parts += [
            rod(iron, (0.24, y, 0.03), (0.2, y, 0.38), 0.05), rod(iron, (-0.3, y, 0.03), (-0.27, y, 0.4), 0.05),
            rod(iron, (-0.27, y, 0.38), (0.24, y, 0.38), 0.045),
            rod(iron, (-0.31, y, 0.38), (-0.42, y, 0.62 + 0.8 * back), 0.045),
            arc(iron, (-0.02, y, 0.38), 0.27, 80, 0.04),
        ]  # fmt: skip
    return parts, Words(("bench",), slat, sized(w, 0.76, 0.84, "short", "long"), [(iron, "legs|sides")], pal.typical)


def bookshelf(rng: random.Random) -> Built:
    """Shelves between two sides, with rows of books."""
    pal = Palette(rng, glossy=0)
    wood = pal.pick("wooden", "brown", "white", also=("wooden",))
    n, w = rng.choice((2, 3, 3)), rng.uniform(0.4, 0.55)
    step = 0.46
    parts = [
        *pair(box, wood, (0, w, n * step / 2), (0.2, 0.04, n * step / 2)),
        box(wood, (-0.18, 0, n * step / 2), (0.03, w, n * step / 2)),
    ]
    parts += [box(wood, (0, 0, k * step), (0.2, w + 0.03, 0.04)) for k in range(n + 1)]
    hues = ("red", "blue", "green", "yellow", "purple", "orange", "teal")
    for k in range(n):
        y = 0.05 - w
        for _ in range(5):
            half, tall = rng.uniform(0.05, 0.085), rng.uniform(0.13, 0.19)
            if y + 2 * half > w - 0.04:
                break
            parts.append(box(pal.fixed(*hues), (0.02, y + half, k * step + 0.03 + tall), (0.15, half, tall)))
            y += 2 * half
    return parts, Words(("bookshelf",), wood, sized(n, 3, 2, "short", "tall"), [("colorful", "books")], pal.typical)


def wardrobe(rng: random.Random) -> Built:
    """A tall cabinet with two doors, knobs, a cornice and feet; at times a drawer below."""
    pal = Palette(rng, glossy=0.1)
    wood = pal.pick("wooden", "brown", "white", also=("wooden",))
    door = wood if rng.random() < 0.5 else pal.pick("white", "beige", "blue", unlike=(wood,))
    knob, h = pal.pick("gold", "black", "silver", unlike=(wood, door)), rng.uniform(0.6, 0.8)
    drawer, w = rng.random() < 0.5, 0.48
    low = 0.3 if drawer else 0.1
    parts = [
        box(wood, (0, 0, h + 0.05), (0.3, w, h)), box(wood, (0, 0, 2 * h + 0.06), (0.34, w + 0.05, 0.05)),
        *pair(box, door, (0.3, 0.235, (low + 2 * h) / 2 + 0.03), (0.03, 0.21, h - low / 2 - 0.03)),
        *pair(ball, knob, (0.35, 0.06, h), 0.045), *four(box, wood, (0.22, w - 0.08, 0.03), (0.07, 0.07, 0.06)),
    ]  # fmt: skip
    if drawer:
        parts += [box(door, (0.3, 0, 0.19), (0.03, 0.445, 0.09)), *pair(ball, knob, (0.35, 0.22, 0.19), 0.04)]
    details = [(knob, "knobs")] + ([(door, "doors")] if door is not wood else [])
    return parts, Words(
        ("wardrobe",), wood, pal.adjectives + sized(h, 0.66, 0.75, "short", "tall"), details, pal.typical
    )
