"""Tableware and vessels."""

from __future__ import annotations

import math
import random

from sds3d.procedural.objects.shapes import Built, ball, box, ring, rod, stump
from sds3d.procedural.objects.vocabulary import Paint, Palette, Words, darker, sized
from sds3d.procedural.parts import Pattern, rotation_from_euler


def mug(rng: random.Random) -> Built:
    """A cup with a handle, empty or full of coffee."""
    pal = Palette(rng, glossy=0.5, glossy_words=("shiny", "glossy", "ceramic"))
    body = pal.pick("white", "blue", "red")
    handle = body if rng.random() < 0.7 else pal.pick("black", "red", unlike=(body,))
    r, h, taper, full = rng.uniform(0.33, 0.45), rng.uniform(0.32, 0.5), rng.uniform(1.0, 1.25), rng.random() < 0.4
    second = pal.pick("white", "blue", unlike=(body,))
    pattern: Pattern = rng.choice(("plain", "plain", "plain", "dots", "stripes"))
    outer = pal.patterned(body, pattern, 4.0, second) if pattern != "plain" else body
    drink = pal.fixed("brown")
    deep = 0.16 if full else 2 * h - 0.12
    inner = r * (taper - (taper - 1) * deep / (4 * h)) - 0.075
    parts = [
        stump(outer, (0, 0, h), r, h, taper),
        stump(drink if full else darker(body), (0, 0, 2 * h + 0.05 - deep / 2 + 0.05), inner, deep / 2 + 0.05, cut=True),
        ring(handle, (0, r * 1.05 + 0.1, h), min(0.24, 0.6 * h), 0.065, rotation=rotation_from_euler(0, 90, 0)),
    ]  # fmt: skip
    details: list[tuple[Paint | str, str]] = [(second, pattern)] if pattern != "plain" else []
    details += [(handle, "handle")] * (handle is not body) + [("", "coffee")] * full
    return parts, Words(
        ("mug",),
        body,
        pal.adjectives + sized(h / r, 0.85, 1.25, "wide", "tall"),
        details,
        pal.typical,
    )


def teapot(rng: random.Random) -> Built:
    """A round pot with a spout in front, a handle behind, a lid and a knob."""
    pal = Palette(rng, glossy=0.6, glossy_words=("shiny", "glossy", "ceramic"))
    body = pal.pick("white", "blue", "silver", "red")
    lid = body if rng.random() < 0.5 else pal.pick("gold", "white", "blue", unlike=(body,))
    second, tall, dotted = pal.pick("white", "red", unlike=(body, lid)), rng.uniform(0.34, 0.44), rng.random() < 0.25
    coat = pal.patterned(body, "dots", 3.6, second) if dotted else body
    parts = [
        ball(coat, (0, 0, tall), (0.46, 0.46, tall)), stump(body, (0, 0, 0.04), 0.28, 0.06),
        rod(body, (0.36, 0, tall - 0.1), (0.62, 0, tall + 0.1), 0.1),
        rod(body, (0.62, 0, tall + 0.1), (0.74, 0, tall + 0.28), 0.075),
        ring(lid, (-0.46, 0, tall + 0.03), 0.24, 0.06, rotation=rotation_from_euler(90, 0, 0)),
        ball(lid, (0, 0, 1.88 * tall), (0.27, 0.27, 0.12)), ball(lid, (0, 0, 1.88 * tall + 0.16), 0.085),
    ]  # fmt: skip
    details = ([(lid, "lid|handle")] if lid is not body else [(body, "lid")]) + ([(second, "dots")] if dotted else [])
    return parts, Words(("teapot",), body, pal.adjectives, details, pal.typical)


def bottle(rng: random.Random) -> Built:
    """A body, shoulders, a neck, a cap and a label."""
    pal = Palette(rng, glossy=0.6, glossy_words=("shiny", "glossy", "glass"))
    body = pal.pick("green", "brown", "blue")
    cap, label = pal.pick("red", "gold", "black", unlike=(body,)), pal.pick("white", "beige", unlike=(body,))
    r, h, neck = rng.uniform(0.2, 0.3), rng.uniform(0.38, 0.5), rng.uniform(0.14, 0.24)
    parts = [
        stump(body, (0, 0, h), r, h), ball(body, (0, 0, 2 * h - 0.01), (r, r, 0.2)),
        stump(body, (0, 0, 2 * h + neck), 0.095, neck + 0.06),
        stump(cap, (0, 0, 2 * h + 2 * neck + 0.04), 0.115, 0.08),
        stump(label, (0, 0, h), r + 0.012, 0.42 * h, rounding=0.0),
    ]  # fmt: skip
    return parts, Words(
        ("bottle", "bottle", "wine bottle" if neck > 0.19 else "bottle"),
        body,
        pal.adjectives + sized(r, 0.22, 0.28, "thin", "wide"),
        [(cap, "cap|lid|top"), (label, "label")],
        pal.typical,
    )


def vase(rng: random.Random) -> Built:
    """A belly, a narrow neck and a flared lip, hollow at the top."""
    pal = Palette(rng, glossy=0.5, glossy_words=("shiny", "glossy", "ceramic", "porcelain"))
    body = pal.pick("white", "blue", "brown")
    second = pal.pick("blue", "gold", "white", unlike=(body,))
    pattern: Pattern = rng.choice(("plain", "plain", "stripes", "dots", "checks"))
    coat = pal.patterned(body, pattern, 3.6, second) if pattern != "plain" else body
    r, tall, neck = rng.uniform(0.3, 0.4), rng.uniform(0.35, 0.5), rng.uniform(0.14, 0.19)
    z = 2 * tall
    parts = [
        ball(coat, (0, 0, tall), (r, r, tall)), stump(body, (0, 0, 0.06), 0.24, 0.08, 0.8),
        stump(body, (0, 0, z), neck, 0.17, rounding=0.0),
        stump(body, (0, 0, z + 0.24), neck, 0.1, 1.6, rounding=0.0), ring(body, (0, 0, z + 0.34), neck * 1.55, 0.04),
        stump(darker(body), (0, 0, z + 0.25), neck - 0.06, 0.17, 2.2, cut=True),
    ]  # fmt: skip
    names = {"stripes": "stripes", "dots": "dots", "checks": "checks"}
    details = [(second, names[pattern])] if pattern != "plain" else []
    return parts, Words(("vase",), body, pal.adjectives + sized(tall, 0.4, 0.46, "short", "tall"), details, pal.typical)


def bowl(rng: random.Random) -> Built:
    """A half ball on a foot, hollow, or full of soup."""
    pal = Palette(rng, glossy=0.5, glossy_words=("shiny", "glossy", "ceramic"))
    body = pal.pick("white", "blue", "wooden", also=("wooden",))
    rim = body if rng.random() < 0.6 else pal.pick("red", "gold", unlike=(body,))
    full, deep = rng.random() < 0.3, rng.uniform(0.34, 0.5)
    soup = pal.fixed("orange", "red", "green")
    parts = [
        ball(body, (0, 0, deep), (0.58, 0.58, deep)), box(body, (0, 0, deep + 0.5), (0.7, 0.7, 0.5), cut=True),
        stump(body, (0, 0, 0.03), 0.28, 0.06),
        ring(rim, (0, 0, deep), 0.55, 0.045),
    ]  # fmt: skip
    if full:
        parts[1:2] = [box(soup, (0, 0, 2 * deep), (0.7, 0.7, deep), cut=True, rounding=0.0)]
        parts[1] = stump(soup, (0, 0, deep + 0.5), 0.7, 0.53, cut=True, rounding=0.0)
    else:
        parts[1] = ball(darker(body), (0, 0, deep + 0.02), (0.5, 0.5, deep - 0.1), cut=True)
        parts.append(stump(darker(body), (0, 0, deep + 0.5), 0.7, 0.5, cut=True, rounding=0.0))
    details = [(rim, "rim")] * (rim is not body) + [(soup, "soup")] * full
    return parts, Words(
        ("bowl",), body, pal.adjectives + sized(deep, 0.38, 0.46, "shallow", "deep"), details, pal.typical
    )


def goblet(rng: random.Random) -> Built:
    """A cup on a stem and a foot, often golden."""
    pal = Palette(rng, glossy=0.6)
    body = pal.pick("gold", "gold", "silver")
    gem, h = pal.pick("red", "blue", unlike=(body,)), rng.uniform(0.3, 0.42)
    z = 0.45 + h
    parts = [
        stump(body, (0, 0, 0.05), 0.3, 0.06, 0.7), stump(body, (0, 0, 0.28), 0.07, 0.24), ball(body, (0, 0, 0.3), 0.12),
        stump(body, (0, 0, z), 0.22, h, 1.5), stump(darker(body), (0, 0, z + 0.1), 0.15, h, 1.6, cut=True),
    ]  # fmt: skip
    for k in range(6):
        a = math.pi * k / 3
        parts.append(ball(gem, (0.29 * math.cos(a), 0.29 * math.sin(a), z + 0.05), 0.07))
    return parts, Words(("goblet",), body, pal.adjectives, [(gem, "gems|jewels")], pal.typical)
