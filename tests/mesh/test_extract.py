"""Surfaces of densities are clean and closed, with the known volumes and handles of the shapes."""

import math
import tracemalloc

import numpy as np
import pytest
import torch

from sds3d.cameras import turntable
from sds3d.errors import UserError
from sds3d.mesh.clean import check_manifold, clean, is_watertight, smooth
from sds3d.mesh.extract import best_threshold, carved_density, isosurface, ray_maxima
from sds3d.preflight.peak_memory import PeakMemory
from tests.helpers.ball import Ball
from tests.helpers.fields import grid_field


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6


def euler(vertices, faces):
    return len(vertices) - 3 * len(faces) // 2 + len(faces)


def test_the_surface_of_a_ball_is_closed_with_its_volume_and_no_handle():
    vertices, faces, components = isosurface(grid_field(lambda p: 1 - p.norm(dim=-1)), 0.4)
    assert is_watertight(faces) and euler(vertices, faces) == 2 and components == 1
    assert volume(vertices, faces) == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=0.01)
    light, few = clean(vertices, faces, 800)
    assert len(few) <= 800 and is_watertight(few)
    assert volume(light, few) == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=0.02)


def test_cleaning_keeps_the_hole_of_a_torus():
    ring = grid_field(lambda p: 0.2 - torch.hypot(p[..., :2].norm(dim=-1) - 0.6, p[..., 2]))
    vertices, faces = clean(*isosurface(ring, 0.0)[:2], 1500)
    assert euler(vertices, faces) == 0 and is_watertight(faces)


def test_cleaning_removes_floaters_and_voids():
    def scene(points):
        shell = 0.5 - points.norm(dim=-1) - 10 * (points.norm(dim=-1) < 0.2)
        return 1 + torch.maximum(shell, 0.07 - (points - 0.8).norm(dim=-1))

    vertices, faces, components = isosurface(grid_field(scene), 1.0)
    assert components == 1 and np.linalg.norm(vertices, axis=1).max() < 0.55
    assert volume(vertices, faces) == pytest.approx(4 / 3 * math.pi * 0.5**3, rel=0.02)


def test_cleaning_keeps_a_second_part_that_is_large_enough():
    def scene(points):
        return 1 + torch.maximum(0.4 - points.norm(dim=-1), 0.2 - (points - torch.tensor([0.75, 0, 0])).norm(dim=-1))

    vertices, faces, components = isosurface(grid_field(scene), 1.0)
    assert components == 2 and euler(vertices, faces) == 4
    assert volume(vertices, faces) == pytest.approx(4 / 3 * math.pi * (0.4**3 + 0.2**3), rel=0.02)


def test_an_open_or_empty_surface_is_an_error():
    vertices, faces, _ = isosurface(grid_field(lambda p: 1 - p.norm(dim=-1), 24), 0.4)
    with pytest.raises(RuntimeError, match="closed manifold"):
        check_manifold(vertices, faces[1:])
    with pytest.raises(UserError, match="no triangle"):
        check_manifold(vertices, faces[:0])


def test_smoothing_removes_noise_and_keeps_the_size():
    vertices, faces, _ = isosurface(grid_field(lambda p: 1 - p.norm(dim=-1), 48), 0.4)
    noisy = vertices + np.random.default_rng(0).normal(0, 0.01, vertices.shape)
    radii, before = np.linalg.norm(smooth(noisy, faces, 10), axis=1), np.linalg.norm(noisy, axis=1)
    assert radii.std() < 0.5 * before.std()
    assert radii.mean() == pytest.approx(0.6, rel=0.005)


def test_ray_maxima_give_the_silhouette_of_a_ball():
    views = turntable(3, 64)
    truth = Ball().render(views, torch.zeros(3, 3)).alphas[..., 0] > 0.5
    drawn = ray_maxima(grid_field(lambda p: 1 - p.norm(dim=-1)), views) > 0.4
    assert (drawn & truth).sum() / (drawn | truth).sum() > 0.98


def test_the_threshold_is_the_highest_that_matches_the_silhouettes():
    maxima = torch.linspace(0, 1, 10001)[None, None]
    threshold, iou = best_threshold(maxima, maxima > 0.5, 0.02, 4.0)
    # The IoU at t > 0.5 is 2 (1 - t): it has fallen by SLACK at 0.51, and candidates are 9% apart.
    assert 0.51 / 1.09 < threshold <= 0.5101 and iou > 0.95


def test_an_object_at_the_border_of_the_grid_is_closed():
    _, faces, _ = isosurface(grid_field(lambda p: 1 - p[..., 2].abs()), 0.5)
    assert is_watertight(faces)


def test_empty_density_is_an_error():
    with pytest.raises(UserError, match="empty"):
        isosurface(grid_field(lambda p: torch.zeros(p.shape[:-1])), 0.5)


def test_the_grid_is_filled_in_parts_that_change_nothing(monkeypatch):
    ball, views = Ball(), turntable(3, 48)
    alphas = ball.render(views, torch.zeros(3, 3)).alphas
    whole = carved_density(ball.density, alphas, views, 40)
    calls = []

    def density(points):
        calls.append(len(points))
        return ball.density(points)

    monkeypatch.setattr("sds3d.mesh.extract.CHUNK", 1024)
    parts = carved_density(density, alphas, views, 40)
    assert torch.equal(parts.values, whole.values)
    assert set(calls[:-1]) == {1024} and 0 < calls[-1] <= 1024
    assert sum(calls) == int((whole.values > 0).sum()) > 5000


def test_density_that_is_not_finite_is_an_error():
    ball, views = Ball(), turntable(3, 48)
    with pytest.raises(UserError, match="NaN or infinity"):
        carved_density(lambda points: points[:, 0] / 0, ball.render(views, torch.zeros(3, 3)).alphas, views, 24)


def test_the_grid_needs_little_more_memory_than_its_values(monkeypatch):
    """4 bytes a cell; the first look of COARSE^3 points and a part of CHUNK points do not grow with the grid."""
    monkeypatch.setattr("sds3d.mesh.extract.CHUNK", 1 << 14)
    ball, views = Ball(), turntable(2, 48)
    alphas = ball.render(views, torch.zeros(2, 3)).alphas
    peaks = {}
    for grid in (32, 100):
        with PeakMemory() as memory:
            cells = carved_density(ball.density, alphas, views, grid).values.numel()
        peaks[cells] = memory.peak
    (few, less), (many, more) = sorted(peaks.items())
    assert many > 7e5 and more - less <= 4 * (many - few)


def test_the_isosurface_needs_at_most_12_bytes_a_cell_beside_the_grid():
    field = grid_field(lambda p: 1 - p.norm(dim=-1), 128)
    tracemalloc.start()
    _, faces, _ = isosurface(field, 0.4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * field.values.numel() + 100 * len(faces)
