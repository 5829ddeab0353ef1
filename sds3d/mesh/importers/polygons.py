"""Triangles of planar polygons, concave ones too."""

from __future__ import annotations

import numpy as np

from sds3d.errors import UserError

MAX_TESTS = 20_000_000  # whether a corner lies in a triangle, in all polygons: some seconds


def triangulate(positions: np.ndarray, corners: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The triangles [F, 3] of polygons, and which polygon each is of [F], in the order of the polygons.

    `corners` holds the vertices of all polygons, one after the other, as indices of `positions` [V, 3]; `counts` [P]
    says how many each has, at least 3.
    """
    starts = np.cumsum(counts) - counts
    triangles, owners = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.int64)]
    cutter = _EarCutter()
    for count in np.unique(counts):
        chosen = np.flatnonzero(counts == count)
        loops = corners[starts[chosen, None] + np.arange(count)]  # [M, count]
        reflex = _reflex(positions[loops]) if count > 3 else np.zeros(loops.shape, bool)
        # From its only reflex corner, one sees all of a polygon.
        simple = reflex.sum(1) <= 1
        turned = (reflex[simple].argmax(1)[:, None] + np.arange(count)) % count
        fans = np.take_along_axis(loops[simple], turned, 1)
        first = np.broadcast_to(fans[:, :1], fans[:, 2:].shape)
        triangles.append(np.stack([first, fans[:, 1:-1], fans[:, 2:]], -1).reshape(-1, 3))
        owners.append(np.repeat(chosen[simple], count - 2))
        cuts = [cutter.cut(*flat) for flat in _flat(positions[loops[~simple]]).transpose(0, 2, 1).tolist()]
        index = np.array(cuts, np.int64).reshape(-1, (count - 2) * 3)
        triangles.append(np.take_along_axis(loops[~simple], index, 1).reshape(-1, 3))
        owners.append(np.repeat(chosen[~simple], count - 2))
    order = np.argsort(np.concatenate(owners), kind="stable")
    return np.concatenate(triangles)[order], np.concatenate(owners)[order]


def _normals(points: np.ndarray) -> np.ndarray:
    """Newell's normals [M, 3], of any length, of polygons [M, N, 3]."""
    local = points - points.mean(1, keepdims=True)
    return np.cross(local, np.roll(local, -1, 1)).sum(1)


def _reflex(points: np.ndarray) -> np.ndarray:
    """Which corners of polygons [M, N, 3] have an inner angle over 180 degrees, [M, N]."""
    before, after = points - np.roll(points, 1, 1), np.roll(points, -1, 1) - points
    turns = np.einsum("mnk,mk->mn", np.cross(before, after), _normals(points))
    # straight corners: rounding decides their sign, and they count as convex
    scale = np.linalg.norm(before, axis=2) * np.linalg.norm(after, axis=2)
    return turns < -1e-6 * scale * np.linalg.norm(_normals(points), axis=1)[:, None]


def _flat(points: np.ndarray) -> np.ndarray:
    """Polygons [M, N, 3] in their planes, counterclockwise, [M, N, 2]."""
    normals = _normals(points)
    u = np.cross(np.eye(3)[np.abs(normals).argmin(1)], normals)
    v = np.cross(normals, u)
    u, v = (axis / np.linalg.norm(axis, axis=1, keepdims=True) for axis in (u, v))
    return np.stack([np.einsum("mnk,mk->mn", points, axis) for axis in (u, v)], 2)


class _EarCutter:
    """Cuts triangles off polygons (Meisters, "Polygons have ears", 1975), until MAX_TESTS."""

    def __init__(self) -> None:
        self.tests = 0

    def cut(self, x: list[float], y: list[float]) -> list[tuple[int, int, int]]:
        """The N - 2 triangles of a counterclockwise polygon of N corners.

        A polygon that crosses itself has no right answer, but as many triangles.
        """
        self.x, self.y = x, y
        loop, position, misses = list(range(len(x))), 0, 0
        # of the other corners, only reflex or straight ones can lie in a triangle that is cut off
        self.reflex = {i for i in loop if self._area(i - 1, i, (i + 1) % len(x)) <= 0}
        found = []
        while len(loop) > 3 and misses < len(loop):
            a, b, c = loop[position - 1], loop[position], loop[(position + 1) % len(loop)]
            if b in self.reflex or not self._is_ear(a, b, c):
                position, misses = (position + 1) % len(loop), misses + 1
                continue
            found.append((a, b, c))
            del loop[position]
            # going on behind the ear spreads the cuts round the polygon, instead of making a fan of slivers
            position, misses = position % len(loop), 0
            after = [loop[position - 2], a, c, loop[(position + 1) % len(loop)]]
            self.reflex -= {corner for k, corner in ((1, a), (2, c)) if self._area(*after[k - 1 : k + 2]) > 0}
        return found + [(loop[0], b, c) for b, c in zip(loop[1:], loop[2:], strict=False)]

    def _area(self, a: int, b: int, c: int) -> float:
        """Twice the area of a triangle, negative if it is clockwise."""
        x, y = self.x, self.y
        return (x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a])

    def _is_ear(self, a: int, b: int, c: int) -> bool:
        """Whether no reflex corner lies in the triangle."""
        x, y = self.x, self.y
        self.tests += len(self.reflex)
        if self.tests > MAX_TESTS:
            raise UserError("has concave faces of too many corners; triangulate it")
        corners = ((x[a], y[a]), (x[b], y[b]), (x[c], y[c]))
        # bridges to holes pass the same point twice
        return not any(
            (x[b] - x[a]) * (y[i] - y[a]) >= (y[b] - y[a]) * (x[i] - x[a])
            and (x[c] - x[b]) * (y[i] - y[b]) >= (y[c] - y[b]) * (x[i] - x[b])
            and (x[a] - x[c]) * (y[i] - y[c]) >= (y[a] - y[c]) * (x[i] - x[c])
            and (x[i], y[i]) not in corners
            for i in self.reflex
        )
