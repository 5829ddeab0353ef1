"""Signed-distance parts: the bricks that the training objects are made of, and their packed array form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

MAX_PARTS = 28
KINDS = ("ellipsoid", "box", "frustum", "torus", "capsule")
PATTERNS = ("plain", "dots", "stripes", "checks", "halves")
# columns of a packed part: kind, cut, pattern, pattern_scale, shine, rounding, taper, present | center 3 | size 3 |
# color 3 | color2 3 | rotation 9
NUM_COLUMNS = 8 + 3 + 3 + 3 + 3 + 9

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


def normalize(parts: list[Part], radius: float = 0.9) -> list[Part]:
    """The same object moved so that its bounding box is centred, and scaled to reach out to `radius`."""
    solid = [p for p in parts if not p.cut]
    low = np.min([np.array(p.center) - half_extents(p) for p in solid], 0)
    high = np.max([np.array(p.center) + half_extents(p) for p in solid], 0)
    middle = (low + high) / 2
    reach = max(_reach(p, middle) for p in solid)
    scale = radius / reach
    return [
        Part(
            **{
                **p.__dict__,
                "center": tuple((np.array(p.center) - middle) * scale),
                "size": tuple(np.array(p.size) * scale),
                "rounding": p.rounding * scale,
                "pattern_scale": p.pattern_scale / scale,
            }
        )
        for p in parts
    ]


def _reach(part: Part, origin: np.ndarray) -> float:
    """An upper bound of the distance from `origin` to the surface of `part`."""
    offset = np.array(part.center) - origin
    if part.kind == "ellipsoid":
        return float(np.linalg.norm(offset) + max(part.size))
    if part.kind == "capsule":
        axis = part.rotation[:, 2] * part.size[2]
        return float(max(np.linalg.norm(offset + axis), np.linalg.norm(offset - axis)) + part.size[0])
    if part.kind == "box":
        corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * np.array(part.size)
        return float(np.linalg.norm(offset + corners @ part.rotation.T, axis=1).max())
    if part.kind == "torus":
        rings = [(part.size[0], 0.0, part.size[2])]
    else:
        rings = [(part.size[0], -part.size[2], 0.0), (part.size[0] * part.taper, part.size[2], 0.0)]
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    reach = 0.0
    for r, z, extra in rings:
        points = np.stack([r * np.cos(angles), r * np.sin(angles), np.full_like(angles, z)], 1) @ part.rotation.T
        reach = max(reach, float(np.linalg.norm(offset + points, axis=1).max()) + extra)
    return reach


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
        row[20:] = np.asarray(p.rotation).reshape(-1)
    return packed
