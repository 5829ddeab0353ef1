"""Household things, tools, toys, instruments and plain solids."""

from __future__ import annotations

import math
import random

from sds3d.procedural.objects.shapes import ALONG_X, UPRIGHT, ball, box, pair, ring, rod, stump
from sds3d.procedural.objects.vocabulary import Palette, Words, darker, make_paint, sized
from sds3d.procedural.parts import Part, rotation_from_euler

Built = tuple[list[Part], Words]


def mug(rng: random.Random) -> Built:
    """A cup with a handle, empty or full of coffee."""
    pal = Palette(rng, glossy=0.5, glossy_words=("shiny", "glossy", "ceramic"))
    body = pal.pick("white", "blue", "red")
    handle = body if rng.random() < 0.7 else pal.pick("black", "red", unlike=(body,))
    r, h, taper, full = rng.uniform(0.33, 0.45), rng.uniform(0.32, 0.5), rng.uniform(1.0, 1.25), rng.random() < 0.4
    second = pal.pick("white", "blue", unlike=(body,))
    pattern = rng.choice(("plain", "plain", "plain", "dots", "stripes"))
    outer = pal.patterned(body, pattern, 4.0, second) if pattern != "plain" else body
    drink = pal.fixed("brown")
    deep = 0.16 if full else 2 * h - 0.12
    inner = r * (taper - (taper - 1) * deep / (4 * h)) - 0.075
    parts = [
        stump(outer, (0, 0, h), r, h, taper), stump(drink if full else darker(body), (0, 0, 2 * h + 0.05 - deep / 2 + 0.05), inner, deep / 2 + 0.05, cut=True),
        ring(handle, (0, r * 1.05 + 0.1, h), min(0.24, 0.6 * h), 0.065, rotation=rotation_from_euler(0, 90, 0)),
    ]  # fmt: skip
    details = [(second, pattern)] if pattern != "plain" else []
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
        ball(coat, (0, 0, tall), (0.46, 0.46, tall)), stump(body, (0, 0, 0.04), 0.28, 0.06), rod(body, (0.36, 0, tall - 0.1), (0.62, 0, tall + 0.1), 0.1),
        rod(body, (0.62, 0, tall + 0.1), (0.74, 0, tall + 0.28), 0.075), ring(lid, (-0.46, 0, tall + 0.03), 0.24, 0.06, rotation=rotation_from_euler(90, 0, 0)),
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
        stump(body, (0, 0, h), r, h), ball(body, (0, 0, 2 * h - 0.01), (r, r, 0.2)), stump(body, (0, 0, 2 * h + neck), 0.095, neck + 0.06),
        stump(cap, (0, 0, 2 * h + 2 * neck + 0.04), 0.115, 0.08), stump(label, (0, 0, h), r + 0.012, 0.42 * h, rounding=0.0),
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
    pattern = rng.choice(("plain", "plain", "stripes", "dots", "checks"))
    coat = pal.patterned(body, pattern, 3.6, second) if pattern != "plain" else body
    r, tall, neck = rng.uniform(0.3, 0.4), rng.uniform(0.35, 0.5), rng.uniform(0.14, 0.19)
    z = 2 * tall
    parts = [
        ball(coat, (0, 0, tall), (r, r, tall)), stump(body, (0, 0, 0.06), 0.24, 0.08, 0.8), stump(body, (0, 0, z), neck, 0.17, rounding=0.0),
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
        ball(body, (0, 0, deep), (0.58, 0.58, deep)), box(body, (0, 0, deep + 0.5), (0.7, 0.7, 0.5), cut=True), stump(body, (0, 0, 0.03), 0.28, 0.06),
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


def trophy(rng: random.Random) -> Built:
    """A two-handled cup on a block."""
    pal = Palette(rng, glossy=0.4)
    cup = pal.pick("gold", "gold", "silver")
    base, h = pal.pick("black", "wooden", unlike=(cup,)), rng.uniform(0.3, 0.4)
    z = 0.5 + h
    parts = [
        box(base, (0, 0, 0.12), (0.26, 0.26, 0.13)), stump(cup, (0, 0, 0.29), 0.2, 0.06, 0.5), stump(cup, (0, 0, 0.42), 0.075, 0.14),
        stump(cup, (0, 0, z), 0.2, h, 1.85), stump(darker(cup), (0, 0, z + 0.1), 0.16, h, 1.85, cut=True),
        *[ring(cup, (0, s * 0.4, z + 0.02), 0.19, 0.055, rotation=rotation_from_euler(0, 90, 0)) for s in (1, -1)],
    ]  # fmt: skip
    return parts, Words(("trophy",), cup, pal.adjectives, [(base, "base")], pal.typical)


def hammer(rng: random.Random) -> Built:
    """A wooden handle, a metal head with a face and a claw end."""
    pal = Palette(rng, glossy=0.2)
    head = pal.pick("silver", "grey", "black")
    grip, h = pal.pick("wooden", "red", unlike=(head,), also=("wooden",)), rng.uniform(0.6, 0.8)
    parts = [
        stump(grip, (0, 0, h), 0.085, h, 0.85), box(head, (0, 0, 2 * h - 0.08), (0.17, 0.13, 0.13)), stump(head, (0.28, 0, 2 * h - 0.08), 0.12, 0.16, rotation=ALONG_X),
        stump(head, (0.42, 0, 2 * h - 0.08), 0.165, 0.07, rotation=ALONG_X),
        *[rod(head, (-0.1, s * 0.06, 2 * h - 0.06), (-0.45, s * 0.09, 2 * h - 0.2), 0.065) for s in (1, -1)],
    ]  # fmt: skip
    return parts, Words(("hammer",), None, [], [(head, "head"), (grip, "handle|grip")], pal.typical)


def sword(rng: random.Random) -> Built:
    """Point up: a blade, a cross guard, a grip and a pommel."""
    pal = Palette(rng, glossy=0.5)
    steel = pal.pick("silver", "silver", "grey")
    guard, grip = pal.pick("gold", "brown", unlike=(steel,)), pal.pick("brown", "black", "red", unlike=(steel,))
    n, w = rng.uniform(0.6, 0.8), rng.uniform(0.09, 0.13)
    top = 0.42 + 2 * n
    parts = [
        box(steel, (0, 0, 0.42 + n), (0.055, w, n), rounding=0.01), box(steel, (0, 0, top), (0.055, w / 1.41, w / 1.41), rotation=rotation_from_euler(45, 0, 0), rounding=0.01),
        box(guard, (0, 0, 0.42), (0.075, 0.3, 0.06)), rod(grip, (0, 0, 0.12), (0, 0, 0.4), 0.075), ball(guard, (0, 0, 0.06), 0.11), *pair(ball, guard, (0, 0.3, 0.42), 0.085),
    ]  # fmt: skip
    return parts, Words(
        ("sword",),
        None,
        pal.adjectives + sized(n, 0.65, 0.75, "short", "long"),
        [(guard, "guard|hilt"), (grip, "handle|grip")],
        pal.typical,
    )


def axe(rng: random.Random) -> Built:
    """A wooden handle and a flared metal head to the front."""
    pal = Palette(rng, glossy=0.2)
    head = pal.pick("silver", "grey", "red")
    grip, h = pal.pick("wooden", "brown", unlike=(head,), also=("wooden",)), rng.uniform(0.6, 0.8)
    z = 2 * h - 0.2
    parts = [
        stump(grip, (0, 0, h), 0.08, h, 0.9), box(head, (0, 0, z), (0.15, 0.11, 0.14)), box(head, (0.24, 0, z), (0.16, 0.07, 0.13)),
        *[box(head, (0.29, 0, z + s * 0.13), (0.19, 0.065, 0.1), rotation=rotation_from_euler(0, -s * 35, 0)) for s in (1, -1)],
        box(head, (0.42, 0, z), (0.07, 0.055, 0.27)),
    ]  # fmt: skip
    return parts, Words(("axe",), None, [], [(head, "head"), (grip, "handle")], pal.typical)


def key(rng: random.Random) -> Built:
    """Upright: a ring to hold, a shaft and two teeth."""
    pal = Palette(rng, glossy=0.3)
    metal, r = pal.pick("gold", "silver"), rng.uniform(0.22, 0.3)
    turn = rotation_from_euler(0, 90, 0)
    parts = [
        ring(metal, (0, 0, 1.1 + r), r, 0.09, rotation=turn), rod(metal, (0, 0, 0.1), (0, 0, 1.1), 0.085), ring(metal, (0, 0, 1.0), 0.11, 0.05),
        box(metal, (0, 0.17, 0.16), (0.06, 0.15, 0.07)), box(metal, (0, 0.14, 0.4), (0.06, 0.12, 0.07)),
    ]  # fmt: skip
    return parts, Words(("key",), metal, pal.adjectives, [], pal.typical)


def top_hat(rng: random.Random) -> Built:
    """A brim, a crown and a band."""
    pal = Palette(rng, glossy=0.1)
    felt = pal.pick("black")
    band, h = pal.pick("red", "white", "grey", unlike=(felt,)), rng.uniform(0.26, 0.42)
    parts = [
        stump(felt, (0, 0, 0), 0.62, 0.05),
        stump(felt, (0, 0, h), 0.36, h, 1.08),
        stump(band, (0, 0, 0.13), 0.385, 0.09, 1.01, rounding=0.0),
    ]
    return parts, Words(
        ("top hat",),
        felt,
        pal.adjectives + sized(h, 0.3, 0.38, "low", "tall"),
        [(band, "band|ribbon")],
        pal.typical,
    )


def party_hat(rng: random.Random) -> Built:
    """A patterned cone with a bobble."""
    pal = Palette(rng, glossy=0.2)
    paper = pal.pick("red", "blue", "yellow", "pink")
    second = pal.pick("white", "yellow", unlike=(paper,))
    pattern, h = rng.choice(("dots", "stripes")), rng.uniform(0.45, 0.6)
    parts = [
        stump(pal.patterned(paper, pattern, 4.0, second), (0, 0, h), 0.38, h, 0.1),
        ball(second, (0, 0, 2 * h), 0.14),
        ring(second, (0, 0, 0.03), 0.37, 0.06),
    ]
    return parts, Words(("party hat",), paper, [], [(second, pattern), (second, "pompom")], pal.typical)


def umbrella(rng: random.Random) -> Built:
    """An open canopy on a stick with a crook."""
    pal = Palette(rng, glossy=0.1)
    cloth = pal.pick("red", "blue", "black", "yellow")
    stick, second = pal.pick("black", "brown", unlike=(cloth,)), pal.pick("white", "yellow", unlike=(cloth,))
    tall, dotted = rng.uniform(0.34, 0.45), rng.random() < 0.25
    coat = pal.patterned(cloth, "dots", 3.0, second) if dotted else cloth
    parts = []
    for k, (low, high) in enumerate(((0.78, 0.68), (0.68, 0.45), (0.45, 0.06))):
        parts.append(
            stump(coat, (0, 0, 0.9 + tall * (0.2 + 0.39 * k - 0.05 * k * k)), low, 0.2 * tall, high / low, rounding=0.0)
        )
    parts += [
        stump(darker(cloth), (0, 0, 0.88), 0.7, 0.04), rod(stick, (0, 0, 0.1), (0, 0, 0.9 + 1.25 * tall), 0.05),
        rod(stick, (0, 0, 0.1), (0.08, 0, 0.0), 0.055), rod(stick, (0.08, 0, 0.0), (0.2, 0, 0.0), 0.055), rod(stick, (0.2, 0, 0.0), (0.27, 0, 0.12), 0.055),
    ]  # fmt: skip
    details = [(stick, "handle")] + ([(second, "dots")] if dotted else [])
    return parts, Words(("umbrella",), cloth, [], details, pal.typical)


def guitar(rng: random.Random) -> Built:
    """Upright, its face to +x: a waisted body with a sound hole, a neck and a head."""
    pal = Palette(rng, glossy=0.4)
    body = pal.pick("wooden", "brown", "red", also=("wooden",))
    neck = make_paint(rng, "brown" if body.name != "brown" else "black")
    dark, light = pal.fixed("black"), pal.fixed("white")
    w = rng.uniform(0.34, 0.42)
    parts = [
        stump(body, (0, 0, 0.36), w, 0.11, rotation=ALONG_X), stump(body, (0, 0, 0.78), 0.78 * w, 0.11, rotation=ALONG_X), box(body, (0, 0, 0.56), (0.11, 0.24, 0.25)),
        stump(dark, (0.09, 0, 0.62), 0.13, 0.04, rotation=ALONG_X), box(dark, (0.11, 0, 0.26), (0.04, 0.15, 0.045)), box(neck, (0.08, 0, 1.24), (0.055, 0.075, 0.5)),
        box(neck, (0.08, 0, 1.8), (0.055, 0.12, 0.14)), *[ball(light, (0.08, s * 0.13, 1.8 + z), 0.05) for s in (1, -1) for z in (-0.07, 0.07)],
        box(light, (0.135, 0, 0.75), (0.012, 0.05, 0.5)),
    ]  # fmt: skip
    return parts, Words(("guitar",), body, pal.adjectives, [(neck, "neck"), (body, "body")], pal.typical)


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


def dice(rng: random.Random) -> Built:
    """A cube with pips: one on top, two in front, three and more on the sides."""
    pal = Palette(rng, glossy=0.4)
    body = pal.pick("white", "red")
    pip = pal.pick("black", "white", unlike=(body,))
    r, e, k = 0.085, 0.43, 0.21
    spots = [
        (0, 0, e),
        (e, k, k),
        (e, -k, -k),
        (k, e, k),
        (0, e, 0),
        (-k, e, -k),
        *[(x, -e, z) for x in (-k, k) for z in (-k, k)],
    ]
    spots += [(-e, 0, 0), *[(-e, y, z) for y in (-k, k) for z in (-k, k)]]
    parts = [
        box(body, (0, 0, 0), (0.45, 0.45, 0.45), rounding=rng.uniform(0.05, 0.12)),
        *[ball(pip, s, r) for s in spots],
    ]
    return parts, Words(("dice",), body, pal.adjectives, [(pip, "dots|pips")], pal.typical)


def gift(rng: random.Random) -> Built:
    """A box wrapped with ribbon and a bow."""
    pal = Palette(rng, glossy=0.3)
    paper = pal.pick("red", "blue", "green", "white")
    ribbon = pal.pick("gold", "yellow", "white", "red", unlike=(paper,))
    d, w, h, dotted = rng.uniform(0.38, 0.5), rng.uniform(0.38, 0.55), rng.uniform(0.25, 0.45), rng.random() < 0.3
    second = pal.pick("white", unlike=(paper, ribbon))
    coat = pal.patterned(paper, "dots", 4.5, second) if dotted else paper
    parts = [
        box(coat, (0, 0, h), (d, w, h), rounding=0.02), box(ribbon, (0, 0, h), (0.07, w + 0.02, h + 0.02), rounding=0.01), box(ribbon, (0, 0, h), (d + 0.02, 0.07, h + 0.02), rounding=0.01),
        *[ball(ribbon, (0, s * 0.17, 2 * h + 0.1), (0.08, 0.17, 0.1), rotation=rotation_from_euler(s * 25, 0, 0)) for s in (1, -1)], ball(ribbon, (0, 0, 2 * h + 0.07), 0.085),
    ]  # fmt: skip
    details = [(ribbon, "ribbon|bow")] + ([(second, "dots")] if dotted else [])
    return parts, Words(("gift",), paper, sized(h, 0.29, 0.41, "flat", "tall"), details, pal.typical)


def balloon(rng: random.Random) -> Built:
    """A hot air balloon: an envelope of two colours, ropes and a basket."""
    pal = Palette(rng, glossy=0.1)
    cloth = pal.pick("red", "yellow", "blue")
    second = pal.pick("white", "yellow", unlike=(cloth,))
    pattern = rng.choice(("stripes", "checks", "plain"))
    coat = pal.patterned(cloth, pattern, 2.4, second) if pattern != "plain" else cloth
    basket = pal.fixed("wooden")
    parts = [
        ball(coat, (0, 0, 1.1), 0.56), stump(coat, (0, 0, 0.6), 0.2, 0.24, 2.15, rounding=0.0), box(basket, (0, 0, 0.1), (0.17, 0.17, 0.13)),
        *[rod(basket, (x * 0.14, y * 0.14, 0.15), (x * 0.15, y * 0.15, 0.5), 0.035) for x in (1, -1) for y in (1, -1)], ring(second, (0, 0, 0.37), 0.2, 0.04),
    ]  # fmt: skip
    details = [(basket, "basket")] + ([(second, pattern)] if pattern != "plain" else [])
    return parts, Words(("hot air balloon",), cloth, [], details, pal.typical)


def ball_toy(rng: random.Random) -> Built:
    """A ball: plain, dotted, striped, checked or of two halves."""
    pal = Palette(rng, glossy=0.4)
    color = pal.pick(*("red", "blue", "green", "yellow"))
    second = pal.pick("white", "yellow", unlike=(color,))
    pattern = rng.choice(("plain", "plain", "dots", "stripes", "checks"))
    coat = pal.patterned(color, pattern, rng.uniform(3.0, 4.5), second) if pattern != "plain" else color
    return [ball(coat, (0, 0, 0), 0.5)], Words(
        ("ball",),
        color,
        pal.adjectives + ["round"],
        [(second, pattern)] if pattern != "plain" else [],
        pal.typical,
    )


def cube(rng: random.Random) -> Built:
    """A cube: plain or patterned."""
    pal = Palette(rng, glossy=0.3)
    color = pal.pick("red", "blue", "green", "yellow", "wooden", also=("wooden", "stone"))
    second = pal.pick("white", "black", unlike=(color,))
    pattern = rng.choice(("plain", "plain", "dots", "stripes", "checks")) if color.pattern == "plain" else "plain"
    coat = pal.patterned(color, pattern, rng.uniform(2.5, 4.0), second) if pattern != "plain" else color
    body = box(coat, (0, 0, 0), (0.45, 0.45, 0.45), rounding=rng.uniform(0.01, 0.08))
    return [body], Words(
        ("cube",), color, pal.adjectives, [(second, pattern)] if pattern != "plain" else [], pal.typical
    )


def cone_solid(rng: random.Random) -> Built:
    """A plain cone."""
    pal = Palette(rng, glossy=0.3)
    color, h = pal.pick("red", "blue", "green", "yellow", also=("wooden",)), rng.uniform(0.4, 0.7)
    return [stump(color, (0, 0, 0), 0.45, h, 0.0, rounding=0.02)], Words(
        ("cone",), color, pal.adjectives + sized(h, 0.47, 0.6, "short", "tall"), [], pal.typical
    )


def cylinder_solid(rng: random.Random) -> Built:
    """A plain cylinder."""
    pal = Palette(rng, glossy=0.3)
    color, h = pal.pick("red", "blue", "green", "yellow", also=("wooden", "stone")), rng.uniform(0.3, 0.8)
    return [stump(color, (0, 0, 0), 0.4, h)], Words(
        ("cylinder", "column") if h > 0.65 else ("cylinder",),
        color,
        pal.adjectives + sized(h, 0.4, 0.65, "short", "tall"),
        [],
        pal.typical,
    )


def ring_solid(rng: random.Random) -> Built:
    """A plain ring, lying or standing."""
    pal = Palette(rng, glossy=0.3)
    color, tube = pal.pick("gold", "red", "blue"), rng.uniform(0.1, 0.22)
    turn = rotation_from_euler(0, 90, 0) if rng.random() < 0.5 else UPRIGHT
    return [ring(color, (0, 0, 0), 0.45, tube, rotation=turn)], Words(
        ("ring",), color, pal.adjectives + sized(tube, 0.13, 0.18, "thin", "thick"), [], pal.typical
    )
