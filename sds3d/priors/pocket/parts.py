"""Signed-distance parts: the bricks that the training objects are made of, and their packed array form."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

MAX_PARTS = 28
KINDS = ("ellipsoid", "box", "frustum", "torus", "capsule")
PATTERNS = ("plain", "dots", "stripes", "checks", "halves")
# columns of a packed part: kind, cut, pattern, pattern_scale, shine, rounding, taper, present | center 3 | size 3 |
# color 3 | color2 3 | rotation 9 | radius of a ball that holds the part
NUM_COLUMNS = 8 + 3 + 3 + 3 + 3 + 9 + 1

Vec3 = tuple[float, float, float]


@dataclass
class Part:
    """One primitive in its own frame, then rotated and moved.

    size means: ellipsoid: radii (x, y, z); box: half extents; frustum: a cone stump along local z, radius at the
    bottom size[0], half height size[2], radius at the top size[0] * taper (size[1] is ignored; taper 1 is a cylinder, 0
    a cone); torus: ring in the local xy plane, ring radius size[0], tube radius size[2]; capsule: along local z, radius
    size[0], half length between the cap centres size[2].
    """

    kind: Literal["ellipsoid", "box", "frustum", "torus", "capsule"]
    center: Vec3
    size: Vec3
    color: Vec3  # sRGB in [0, 1]
    color2: Vec3 = (1.0, 1.0, 1.0)  # the second colour of a pattern
    pattern: Literal["plain", "dots", "stripes", "checks", "halves"] = "plain"
    pattern_scale: float = 6.0  # repeats per world unit
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))  # local to world
    rounding: float = 0.0  # radius of softened edges (box, frustum), world units
    taper: float = 1.0
    shine: float = 0.0  # 0 matte, 0.5 glossy, 1 metal
    cut: bool = False  # taken away from the union of all other parts; its colour paints the hollow


def rotation_from_euler(x_deg: float = 0.0, y_deg: float = 0.0, z_deg: float = 0.0) -> np.ndarray:
    """Rotation matrix [3, 3] that turns about x, then y, then z (world axes)."""
    x, y, z = np.radians([x_deg, y_deg, z_deg])
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return rz @ ry @ rx


def half_extents(part: Part) -> np.ndarray:
    """Half sides [3] of a world-axis box around `part`, centred on its centre."""
    s = part.size
    if part.kind == "ellipsoid":
        return np.sqrt(((part.rotation * np.array(s)) ** 2).sum(1))
    if part.kind == "capsule":
        return np.abs(part.rotation[:, 2]) * s[2] + s[0]
    radius = max(s[0], s[0] * part.taper)
    local = {
        "box": np.array(s),
        "frustum": np.array([radius, radius, s[2]]),
        "torus": np.array([s[0] + s[2], s[0] + s[2], s[2]]),
    }[part.kind]
    return np.abs(part.rotation) @ local


def bounding_radius(part: Part) -> float:
    """Radius of a ball around the part's centre that holds the part."""
    s = part.size
    if part.kind == "ellipsoid":
        return max(s)
    if part.kind == "box":
        return math.hypot(*s)
    if part.kind == "frustum":
        return math.hypot(s[0] * max(1.0, part.taper), s[2])
    return s[0] + s[2]


def normalize(parts: list[Part], radius: float = 0.9) -> list[Part]:
    """The same object moved so that its bounding box is centred, and scaled to reach out to `radius`."""
    solid = [p for p in parts if not p.cut]
    centers = np.array([p.center for p in solid])
    halves = np.array([half_extents(p) for p in solid])
    middle = ((centers - halves).min(0) + (centers + halves).max(0)) / 2
    scale = radius / max(_reach(p, middle) for p in solid)
    x, y, z = middle.tolist()
    return [
        replace(
            p,
            center=((p.center[0] - x) * scale, (p.center[1] - y) * scale, (p.center[2] - z) * scale),
            size=(p.size[0] * scale, p.size[1] * scale, p.size[2] * scale),
            rounding=p.rounding * scale,
            pattern_scale=p.pattern_scale / scale,
        )
        for p in parts
    ]


_CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
_ANGLES = np.linspace(0, 2 * np.pi, 16, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES), np.zeros(16)], 1)


def _reach(part: Part, origin: np.ndarray) -> float:
    """An upper bound of the distance from `origin` to the surface of `part`."""
    offset = np.subtract(part.center, origin)
    if part.kind == "ellipsoid":
        return math.hypot(*offset) + max(part.size)
    if part.kind == "capsule":
        axis = part.rotation[:, 2] * part.size[2]
        return max(math.hypot(*(offset + axis)), math.hypot(*(offset - axis))) + part.size[0]
    if part.kind == "box":
        points, extra = _CORNERS * part.size, 0.0
    elif part.kind == "torus":
        points, extra = _CIRCLE * part.size[0], part.size[2]
    else:
        rise = np.array([0.0, 0.0, part.size[2]])
        points = np.concatenate([_CIRCLE * part.size[0] - rise, _CIRCLE * (part.size[0] * part.taper) + rise])
        extra = 0.0
    points = points @ part.rotation.T + offset
    return math.sqrt((points * points).sum(1).max()) + extra


def pack(parts: list[Part]) -> np.ndarray:
    """The array form [MAX_PARTS, NUM_COLUMNS] float32 that the tracer reads; absent parts are zero rows."""
    if len(parts) > MAX_PARTS:
        raise ValueError(f"an object has {len(parts)} parts; the most is {MAX_PARTS}")
    packed = np.zeros((MAX_PARTS, NUM_COLUMNS), np.float32)
    for row, p in zip(packed, parts, strict=False):
        row[:8] = (
            KINDS.index(p.kind),
            p.cut,
            PATTERNS.index(p.pattern),
            p.pattern_scale,
            p.shine,
            p.rounding,
            p.taper,
            1.0,
        )
        row[8:20] = [*p.center, *p.size, *p.color, *p.color2]
        row[20:29] = np.asarray(p.rotation).reshape(-1)
        row[29] = bounding_radius(p)
    return packed
