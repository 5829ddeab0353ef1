"""Errors of shapes: meshes of prompts that fix everything but a size, compared with the requested shape.

python -m benchmarks.geometry [--config NAME] [--out FOLDER] [--workers N]

A ball, a cube, a cylinder, a cone and a ring are fitted to the meshes of finished runs by least squares. The table has
the distances of the surface from the fitted shape, and the angles of its triangles to it. Surfaces inside, or visible
only from below any view of the runs, are left out. Finished runs are kept and a stopped one resumes, so the table can
be made in pieces.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.runs import add_workers, make_runs

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = 6000  # points of a surface
ROUNDEST = 0.2  # radius of an edge over the smallest half side; the grammar's cubes have up to 0.18
THICKEST = 0.6  # radius of a ring's tube over that of the ring; the grammar's have up to 0.49, and 1 has no hole
RESOLUTION, ELEVATIONS_DEG = 256, (-20.0, 5.0, 30.0, 60.0)  # of the renders that determine visibility
STEP = 1e-5  # world units over which distances are differentiated

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Shape:
    """A kind of solid; its position and parameters are fitted."""

    distance: Distance  # (points [P, 3] about its center, parameters [K]) -> signed distances [P], negative inside
    starts: Callable[[np.ndarray], list[list[float]]]  # half sides [3] of its bounding box -> initial parameters
    most: float = np.inf  # upper bound of the last parameter, whose lower bound is 0


@dataclass(frozen=True)
class Deviation:
    """Deviation of a surface from the shape fitted to it."""

    rms_percent: float  # RMS distance from the shape, relative to the RMS distance of the surface from its mean point
    angle_deg: float  # mean angle between the normals of the surface and those of the nearest points of the shape


def ball(points: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Parameters: radius."""
    return np.linalg.norm(points, axis=1) - parameters[0]


def box(points: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Parameters: angle about z, three half sides, roundness."""
    angle, half, roundness = parameters[0], parameters[1:4], parameters[4]
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return _rounded_box(np.abs(points @ turn), half, roundness)


def cylinder(points: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Upright. Parameters: radius, half height, roundness."""
    section = np.stack([np.hypot(points[:, 0], points[:, 1]), np.abs(points[:, 2])], 1)
    return _rounded_box(section, parameters[:2], parameters[2])


def cone(points: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Upright, with the tip on top. Parameters: radius at the bottom, half height, roundness.

    In a half-plane of its axis the cone is a triangle; the distance is that of the nearest point on its slope or base.
    """
    radius, half, roundness = parameters
    rounding = roundness * min(radius, half)
    radius, half = radius - rounding, half - rounding
    section = np.stack([np.hypot(points[:, 0], points[:, 1]), points[:, 2]], 1)
    tip, rim = np.array([0.0, half]), np.array([radius, -half])
    slope = rim - tip
    along = np.clip((section - tip) @ slope / (slope @ slope), 0, 1)
    to_slope = np.linalg.norm(section - tip - along[:, None] * slope, axis=1)
    to_base = np.hypot(np.maximum(section[:, 0] - radius, 0), section[:, 1] + half)
    inside = ((section - tip) @ np.array([2 * half, radius]) < 0) & (section[:, 1] > -half)
    return np.where(inside, -1, 1) * np.minimum(to_slope, to_base) - rounding


def ring(points: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Parameters: axis (of any length), radius of the ring, thickness (radius of the tube over that of the ring)."""
    axis, radius, thickness = parameters[:3] / np.linalg.norm(parameters[:3]), *parameters[3:]
    along = points @ axis
    beside = np.linalg.norm(points - along[:, None] * axis, axis=1)
    return np.hypot(beside - radius, along) - thickness * radius


def _rounded_box(points: np.ndarray, half: np.ndarray, roundness: float) -> np.ndarray:
    """Signed distance of `points` [P, D], none of whose coordinates are negative, from a box of half sides [D]."""
    rounding = roundness * half.min()
    beyond = points - half + rounding
    return np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(1), 0) - rounding


SHAPES = {
    "ball": Shape(ball, lambda half: [[half.mean()]]),
    "cube": Shape(
        box, lambda half: [[np.radians(angle), *half, ROUNDEST / 2] for angle in (0.0, 22.5, 45.0, 67.5)], ROUNDEST
    ),
    "cylinder": Shape(cylinder, lambda half: [[half[:2].mean(), half[2], ROUNDEST / 2]], ROUNDEST),
    "cone": Shape(cone, lambda half: [[half[:2].mean(), half[2], ROUNDEST / 2]], ROUNDEST),
    "ring": Shape(
        ring, lambda half: [[*axis, half.max() / (1 + THICKEST / 2), THICKEST / 2] for axis in np.eye(3)], THICKEST
    ),
}
# Kinds of the grammar that consist of one part; some have a pattern, which should not change the shape.
PROMPTS = {
    "a red ball": "ball",
    "a blue ball with white dots": "ball",
    "a green cube": "cube",
    "a yellow cube with black stripes": "cube",
    "a blue cylinder": "cylinder",
    "a tall wooden cylinder": "cylinder",
    "a red cone": "cone",
    "a gold ring": "ring",
}


def measure(vertices: np.ndarray, faces: np.ndarray, shape: Shape) -> Deviation:
    """The deviation of a mesh, `vertices` [V, 3] and `faces` [F, 3], from the best fit of `shape`."""
    points, normals = sample_surface(vertices, faces, np.random.default_rng(0))
    middle, parameters = fit(shape, points)
    size = np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean())
    distances = shape.distance(points - middle, parameters)
    slopes = np.stack(
        [
            shape.distance(points - middle + step, parameters) - shape.distance(points - middle - step, parameters)
            for step in STEP * np.eye(3)
        ],
        1,
    )
    slopes /= np.linalg.norm(slopes, axis=1, keepdims=True)  # the gradient of a distance is the nearest point's normal
    angles = np.degrees(np.arccos((slopes * normals).sum(1).clip(-1, 1)))
    return Deviation(100 * np.sqrt((distances**2).mean()) / size, angles.mean())


def seen_faces(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The rows of `faces` that are visible in some pixel, from the range of views of a run."""
    import torch

    from sds3d.cameras import orbit_cameras
    from sds3d.mesh.raster import rasterize

    azimuths = torch.arange(8).repeat(len(ELEVATIONS_DEG)) * (2 * np.pi / 8)
    elevations = torch.deg2rad(torch.tensor(ELEVATIONS_DEG)).repeat_interleave(8)
    cameras = orbit_cameras(azimuths, elevations, torch.full_like(azimuths, 2.7), np.radians(40), RESOLUTION)
    solid = torch.from_numpy(vertices).float(), torch.from_numpy(faces)
    shown = [rasterize(*solid, cameras[view : view + 1]).faces.unique() for view in range(len(cameras))]
    seen = torch.cat(shown).unique()
    return faces[seen[seen >= 0].numpy()]


def sample_surface(vertices: np.ndarray, faces: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points [SAMPLES, 3], uniform on the surface, and the normals [SAMPLES, 3] of their triangles."""
    corners = vertices[faces].astype(np.float64)
    a, b, c = corners.swapaxes(0, 1)
    across = np.cross(b - a, c - a)
    areas = np.linalg.norm(across, axis=1)
    chosen = rng.choice(len(faces), SAMPLES, p=areas / areas.sum())
    u, v = rng.random((2, SAMPLES, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)  # reflect the other half of the parallelogram
    points = a[chosen] + u * (b - a)[chosen] + v * (c - a)[chosen]
    return points, (across / areas.clip(1e-30)[:, None])[chosen]


def fit(shape: Shape, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Center [3] and parameters [K] of the `shape` with the least sum of squared distances to `points` [P, 3]."""
    from scipy.optimize import least_squares

    low, high = points.min(0), points.max(0)
    fits = []
    for start in shape.starts((high - low) / 2):
        first = np.array([*(low + high) / 2, *start])
        bounds = np.full(len(first), -np.inf), np.full(len(first), np.inf)
        bounds[0][-1], bounds[1][-1] = 0, shape.most
        fits.append(least_squares(lambda x: shape.distance(points - x[:3], x[3:]), first, bounds=bounds))
    best = min(fits, key=lambda result: result.cost).x
    return best[:3], best[3:]


def table(deviations: dict[str, Deviation]) -> str:
    """A markdown table with a row for each prompt, and their means."""
    rows = [(prompt, PROMPTS[prompt], x.rms_percent, x.angle_deg) for prompt, x in deviations.items()]
    rows.append(("mean", "", *np.mean([row[2:] for row in rows], 0)))
    head = "| prompt | shape | rms distance % | mean angle deg |\n| --- | --- | --: | --: |\n"
    return head + "\n".join(f"| {prompt} | {shape} | {rms:.2f} | {angle:.1f} |" for prompt, shape, rms, angle in rows)


def main(argv: Sequence[str] | None = None) -> int:
    from sds3d.errors import UserError
    from sds3d.mesh.exporters.glb import read_glb

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="asset", metavar="NAME", help="as for sds3d generate (default: asset)")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "geometry", metavar="FOLDER", help="of the runs")
    add_workers(parser)
    args = parser.parse_args(argv)
    try:
        runs = make_runs(list(PROMPTS), args.config, args.out, args.workers)
    except UserError as error:
        sys.exit(f"error: {error}")
    deviations = {}
    for prompt, run in zip(PROMPTS, runs, strict=True):
        mesh = read_glb(run / "mesh.glb")
        vertices, faces = mesh.vertices.numpy(), mesh.faces.numpy()
        deviations[prompt] = measure(vertices, seen_faces(vertices, faces), SHAPES[PROMPTS[prompt]])
    print(table(deviations))
    return 0


if __name__ == "__main__":
    sys.exit(main())
