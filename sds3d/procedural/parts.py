"""Signed-distance parts, from which procedural objects are built, and their packed array form."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

MAX_PARTS = 28
KINDS = ("ellipsoid", "box", "frustum", "torus", "capsule", "arc", "wedge")
PATTERNS = ("plain", "dots", "stripes", "checks", "halves")
# Columns of a packed part, as cuda_ext/procedural/trace.h reads them.
SCALARS = slice(0, 8)  # kind, cut, pattern, pattern_scale, shine, rounding, taper, present
CENTER, SIZE, COLOR, COLOR2 = slice(8, 11), slice(11, 14), slice(14, 17), slice(17, 20)
ROTATION = slice(20, 29)  # row-major
REACH = slice(29, 32)  # radius of a ball around the part and the surface that its blending changes; blend; taper_y
NUM_COLUMNS = 32
ROUNDING, MIDDLE_SIZE = 5, 12  # for an arc: the cosine and the sine of its half angle
MATTE, GLOSSY, METALLIC, GLOWING = 0.0, 0.5, 1.0, 2.0  # values of Part.shine

Vec3 = tuple[float, float, float]
Pattern = Literal["plain", "dots", "stripes", "checks", "halves"]


@dataclass
class Part:
    """A primitive in its local frame, then rotated and moved. The meaning of `size` depends on the kind:

    - ellipsoid: radii (x, y, z).
    - box: half extents.
    - frustum: a cone stump along local z, with radius size[0] at the bottom and size[0] * taper at the top, and half
      height size[2]. With taper 1 it is a cylinder, with 0 a cone.
    - torus: a ring in the local xy plane, with ring radius size[0] and tube radius size[2].
    - capsule: along local z, with radius size[0] at the bottom and size[0] * taper at the top, and half length size[2]
      between the centers of the caps.
    - arc: a capsule bent to a part of a ring in the local xz plane, with its middle at +z. Ring radius size[0], half
      length size[1] along the ring, tube radius size[2] at the end of smaller x and size[2] * taper at the other end.
    - wedge: half extents size at the bottom; at the top, those of x and y times taper and taper_y. With 0 and 1 it is a
      roof, with 0 and 0 a pyramid.
    """

    kind: Literal["ellipsoid", "box", "frustum", "torus", "capsule", "arc", "wedge"]
    center: Vec3
    size: Vec3
    color: Vec3  # sRGB in [0, 1]
    color2: Vec3 = (1.0, 1.0, 1.0)  # the second color of a pattern
    pattern: Pattern = "plain"
    pattern_scale: float = 6.0  # repeats per world unit; for halves, the local z of the seam
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))  # local to world
    rounding: float = 0.0  # radius of softened edges (box, frustum), world units
    taper: float = 1.0
    taper_y: float = 1.0
    shine: float = MATTE
    cut: bool = False  # subtracted from the union of all other parts; its color paints the cavity
    blend: float = 0.0  # width in world units of the smooth union with the parts before it, 0 for a sharp seam


def rotation_from_euler(x_deg: float = 0.0, y_deg: float = 0.0, z_deg: float = 0.0) -> np.ndarray:
    """Matrix [3, 3] of a rotation about x, then y, then z (world axes)."""
    x, y, z = np.radians([x_deg, y_deg, z_deg])
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return rz @ ry @ rx


def half_extents(part: Part) -> np.ndarray:
    """Half sides [3] of a world-axis box around `part`, centered at its center."""
    s = part.size
    if part.kind == "ellipsoid":
        return np.sqrt(((part.rotation * np.array(s)) ** 2).sum(1))
    if part.kind == "capsule":
        return np.abs(part.rotation[:, 2]) * s[2] + s[0] * max(1.0, part.taper)
    if part.kind == "arc":
        low, high = bounds(part)
        return np.maximum(high - part.center, part.center - low)
    radius = max(s[0], s[0] * part.taper)
    if part.kind in ("frustum", "torus"):
        axis = part.rotation[:, 2]
        disc = radius * np.sqrt(np.maximum(1 - axis * axis, 0.0))  # of a circle about the axis
        return disc + s[2] * (np.abs(axis) if part.kind == "frustum" else 1.0)
    local = s if part.kind == "box" else (radius, s[1] * max(1.0, part.taper_y), s[2])
    return np.abs(part.rotation) @ np.array(local)


def bounds(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """The minimum and maximum corner [3] of a world-axis box around `part`."""
    center = np.array(part.center)
    if part.kind == "arc":
        middle = _arc_points(part) @ part.rotation.T + center
        tube = part.size[2] * max(1.0, part.taper)
        return middle.min(0) - tube, middle.max(0) + tube
    half = half_extents(part)
    return center - half, center + half


def _arc_points(part: Part) -> np.ndarray:
    """Nine points [9, 3] of the center line of an arc, in its local frame."""
    radius, half_length, _ = part.size
    angles = np.linspace(-1, 1, 9) * (half_length / radius)
    return radius * np.stack([np.sin(angles), np.zeros(9), np.cos(angles)], 1)


def bounding_radius(part: Part) -> float:
    """Radius of a ball around the part's center that contains the part."""
    s = part.size
    if part.kind == "ellipsoid":
        return max(s)
    if part.kind == "box":
        return math.hypot(*s)
    if part.kind == "frustum":
        return math.hypot(s[0] * max(1.0, part.taper), s[2])
    if part.kind == "wedge":
        return math.hypot(s[0] * max(1.0, part.taper), s[1] * max(1.0, part.taper_y), s[2])
    if part.kind == "capsule":
        return s[0] * max(1.0, part.taper) + s[2]
    return s[0] + s[2] * max(1.0, part.taper)


def normalize(parts: list[Part], radius: float = 0.9) -> list[Part]:
    """The same object with its bounding box centered at the origin and its farthest point at distance `radius`."""
    low, high = box_around(parts)
    middle = (low + high) / 2
    scale = radius / max(_reach(p, middle) for p in parts if not p.cut)
    return moved(parts, scale, -scale * middle)


def box_around(parts: list[Part]) -> tuple[np.ndarray, np.ndarray]:
    """The minimum and maximum corner [3] of a world-axis box around the solid parts."""
    corners = [bounds(p) for p in parts if not p.cut]
    return np.min([low for low, _ in corners], 0), np.max([high for _, high in corners], 0)


def moved(parts: list[Part], scale: float, shift: np.ndarray) -> list[Part]:
    """The same object, scaled by `scale` about the origin, then shifted."""
    x, y, z = shift.tolist()
    return [
        Part(  # positional arguments: dataclasses.replace takes four times as long
            p.kind,
            (p.center[0] * scale + x, p.center[1] * scale + y, p.center[2] * scale + z),
            (p.size[0] * scale, p.size[1] * scale, p.size[2] * scale),
            p.color,
            p.color2,
            p.pattern,
            p.pattern_scale * scale if p.pattern == "halves" else p.pattern_scale / scale,
            p.rotation,
            p.rounding * scale,
            p.taper,
            p.taper_y,
            p.shine,
            p.cut,
            p.blend * scale,
        )
        for p in parts
    ]


def _reach(part: Part, origin: np.ndarray) -> float:
    """The largest distance from `origin` to the surface of `part`, or an upper bound of it."""
    offset = np.subtract(part.center, origin)
    x, y, z = (offset @ part.rotation).tolist()  # of the center, in the local frame of the part
    beside, (a, b, c) = math.hypot(x, y), part.size
    match part.kind:
        case "ellipsoid":
            return math.hypot(x, y, z) + max(a, b, c)
        case "box":
            return math.hypot(abs(x) + a, abs(y) + b, abs(z) + c)
        case "frustum":
            return max(math.hypot(beside + a, z - c), math.hypot(beside + a * part.taper, z + c))
        case "torus":
            return math.hypot(beside + a, z) + c
        case "capsule":
            return max(math.hypot(beside, z - c) + a, math.hypot(beside, z + c) + a * part.taper)
        case "wedge":
            top = math.hypot(abs(x) + a * part.taper, abs(y) + b * part.taper_y, z + c)
            return max(math.hypot(abs(x) + a, abs(y) + b, z - c), top)
        case "arc":
            points = _arc_points(part) @ part.rotation.T + offset
            return float(np.linalg.norm(points, axis=1).max()) + c * max(1.0, part.taper)


def pack(parts: list[Part]) -> np.ndarray:
    """The array form [MAX_PARTS, NUM_COLUMNS] float32 that the tracer reads; absent parts are zero rows."""
    if len(parts) > MAX_PARTS:
        raise ValueError(f"an object has {len(parts)} parts; expected at most {MAX_PARTS}")
    melting = 1.25 * max(
        (p.blend for p in parts), default=0.0
    )  # the distance over which a part changes the surface of another
    packed = np.zeros((MAX_PARTS, NUM_COLUMNS), np.float32)
    for row, p in zip(packed, parts, strict=False):
        row[SCALARS] = (
            KINDS.index(p.kind),
            p.cut,
            PATTERNS.index(p.pattern),
            p.pattern_scale,
            p.shine,
            p.rounding,
            p.taper,
            1.0,
        )
        row[CENTER], row[SIZE], row[COLOR], row[COLOR2] = p.center, p.size, p.color, p.color2
        row[ROTATION] = np.asarray(p.rotation).reshape(-1)
        row[REACH] = bounding_radius(p) + melting, p.blend, p.taper_y
        if p.kind == "arc":
            angle = p.size[1] / p.size[0]
            row[MIDDLE_SIZE], row[ROUNDING] = math.sin(angle), math.cos(angle)
    return packed
