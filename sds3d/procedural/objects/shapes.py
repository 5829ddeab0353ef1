"""Short constructors for parts. Units are arbitrary, since the object is scaled to the unit ball later."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sds3d.procedural.objects.vocabulary import Paint, Words
from sds3d.procedural.parts import Part, Vec3, rotation_from_euler

Built = tuple[list[Part], Words]  # the result of an object's builder

UPRIGHT = np.eye(3)
ALONG_X = rotation_from_euler(0, 90, 0)  # local z points to +x, the front
ALONG_Y = rotation_from_euler(-90, 0, 0)  # local z points to +y


def _part(kind: Any, paint: Paint, center: Vec3, size: Vec3, **options: Any) -> Part:
    _, _, color, color2, pattern, pattern_scale, shine = paint
    return Part(kind, center, size, color, color2, pattern, pattern_scale, shine=shine, **options)


def ball(paint: Paint, center: Vec3, radii: float | Vec3, **options: Any) -> Part:
    """A sphere, or an ellipsoid if `radii` are three."""
    size = radii if isinstance(radii, tuple) else (radii, radii, radii)
    return _part("ellipsoid", paint, center, size, **options)


def box(paint: Paint, center: Vec3, half: Vec3, **options: Any) -> Part:
    """A box with half sides `half` and slightly rounded edges."""
    return _part("box", paint, center, half, **({"rounding": 0.15 * min(half)} | options))


def stump(paint: Paint, center: Vec3, radius: float, half: float, taper: float = 1.0, **options: Any) -> Part:
    """A cylinder (taper 1), cone stump or cone (taper 0) with half height `half` and `radius` at the bottom."""
    softness = 0.12 * min(half, radius * min(1.0, max(taper, 0.2)))
    return _part("frustum", paint, center, (radius, radius, half), **({"taper": taper, "rounding": softness} | options))


def ring(paint: Paint, center: Vec3, radius: float, tube: float, **options: Any) -> Part:
    """A torus around local z."""
    return _part("torus", paint, center, (radius, radius, tube), **options)


def rod(paint: Paint, start: Vec3, end: Vec3, radius: float, **options: Any) -> Part:
    """A capsule between two points."""
    (ax, ay, az), (bx, by, bz) = start, end
    length = math.dist(start, end)
    x, y, z = ((bx - ax) / length, (by - ay) / length, (bz - az) / length) if length else (0.0, 0.0, 1.0)
    if abs(y) < 0.9:  # columns: (y axis) x (axis of the rod), the third of a right-handed frame, the axis of the rod
        n = math.hypot(x, z)
        frame = np.array([[z / n, -x * y / n, x], [0.0, n, y], [-x / n, -y * z / n, z]])
    else:  # the same from the x axis
        n = math.hypot(y, z)
        frame = np.array([[0.0, n, x], [-z / n, -x * y / n, y], [y / n, -x * z / n, z]])
    center = ((ax + bx) / 2, (ay + by) / 2, (az + bz) / 2)
    return _part("capsule", paint, center, (radius, radius, length / 2), rotation=frame, **options)


def pair(make: Any, paint: Paint, center: Vec3, *args: Any, **options: Any) -> list[Part]:
    """The same part at y and at -y."""
    x, y, z = center
    return [make(paint, (x, s * y, z), *args, **options) for s in (1, -1)]


def four(make: Any, paint: Paint, center: Vec3, *args: Any, **options: Any) -> list[Part]:
    """The same part at x and -x, y and -y."""
    x, y, z = center
    return [make(paint, (s * x, t * y, z), *args, **options) for s in (1, -1) for t in (1, -1)]


def axles(tire: Paint, hub: Paint, xs: Sequence[float], half_width: float, z: float, radius: float) -> list[Part]:
    """Wheels on both sides at each x: two tires per axle, and a hub that is visible on both sides."""
    parts = []
    for x in xs:
        thick = 0.32 * radius
        parts += pair(stump, tire, (x, half_width, z), radius, thick, rotation=ALONG_Y)
        parts.append(stump(hub, (x, 0.0, z), 0.5 * radius, half_width + 1.25 * thick, rotation=ALONG_Y))
    return parts


def eyes(paint: Paint, center: Vec3, radius: float) -> list[Part]:
    """Two balls at y and -y."""
    return pair(ball, paint, center, radius)


def arc(paint: Paint, center: Vec3, radius: float, half_angle_deg: float, tube: float, **options: Any) -> Part:
    """A bent rod: a part of a ring around `center` in the xz plane, with its middle at the top."""
    return _part("arc", paint, center, (radius, radius * math.radians(half_angle_deg), tube), **options)


def wedge(paint: Paint, center: Vec3, half: Vec3, taper: float = 0.0, taper_y: float = 1.0, **options: Any) -> Part:
    """A box with a narrower top: a roof (default, with its ridge along y), a pyramid (0, 0) or a pyramid stump."""
    return _part("wedge", paint, center, half, taper=taper, taper_y=taper_y, **options)


def around(count: int, radius: float, start: float = 0.0) -> list[tuple[float, float, float]]:
    """x, y and angle in degrees of `count` evenly spaced points on a circle about z; the first is at `start` degrees."""
    angles = [start + 360 * k / count for k in range(count)]
    return [(radius * math.cos(math.radians(a)), radius * math.sin(math.radians(a)), a) for a in angles]


def melted(width: float, parts: Sequence[Part]) -> list[Part]:
    """`parts`, each blended into those before it over `width`."""
    return [replace(part, blend=width) for part in parts]
