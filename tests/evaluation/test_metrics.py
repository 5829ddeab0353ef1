"""The metrics of evaluation, in closed form."""

import math

import pytest
import torch
from torch.nn import functional as F

from sds3d.evaluation import metrics


def test_ranks_count_texts_that_are_as_near() -> None:
    texts = torch.eye(4)
    images = F.normalize(torch.tensor([[4.0, 3, 2, 1], [4.0, 3, 2, 1], [1.0, 1, 0, 0]]), dim=-1)
    assert metrics.ranks(images, texts, torch.tensor([0, 2, 1])).tolist() == [0, 2, 1]  # a tie is not a success
    assert metrics.r_precision(images, texts, torch.tensor([0, 2, 1])) == pytest.approx(1 / 3)


def test_r_precision_of_equal_embeddings_is_zero() -> None:
    assert metrics.r_precision(torch.ones(5, 1), torch.ones(9, 1), torch.arange(5)) == 0


def test_views_together_have_the_direction_of_their_sum() -> None:
    views = torch.tensor([[[1.0, 0], [0, 1]], [[0, 1], [0, 1]]])
    torch.testing.assert_close(
        metrics.views_together(views), torch.tensor([[0.5**0.5, 0.5**0.5], [0, 1.0]]), atol=1e-6, rtol=0
    )


def ring(angle: float, views: int, plane: int) -> torch.Tensor:
    """Unit vectors [views, 4] that rotate by `angle` from view to view in one of two planes."""
    turns = angle * torch.arange(views)
    vectors = torch.zeros(views, 4)
    vectors[:, 2 * plane], vectors[:, 2 * plane + 1] = turns.cos(), turns.sin()
    return vectors


def test_consistency_in_closed_form() -> None:
    """Two assets in orthogonal planes; each view is rotated by 90 degrees from the one before."""
    embedded = torch.stack([ring(torch.pi / 2, 4, 0), ring(torch.pi / 2, 4, 1)])
    found = metrics.view_consistency(embedded)
    assert (found.adjacent, found.opposite, found.unrelated) == pytest.approx((0, -1, 0), abs=1e-6)
    assert found.score == pytest.approx(0, abs=1e-6)


def test_consistency_is_one_for_equal_views_and_zero_for_unrelated_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    assets = F.normalize(torch.randn(6, 1, 16, generator=generator), dim=-1)
    assert metrics.view_consistency(assets.expand(-1, 4, -1)).score == pytest.approx(1, abs=1e-5)
    assert metrics.Consistency(adjacent=0.3, opposite=0.2, unrelated=0.3).score == 0
    assert math.isnan(metrics.view_consistency(torch.ones(3, 4, 1)).score)


def test_unrelated_views_are_all_pairs_of_assets_from_one_side() -> None:
    embedded = F.normalize(torch.randn(5, 4, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    pairs = [(a * b).sum(-1).mean() for i, a in enumerate(embedded) for j, b in enumerate(embedded) if i != j]
    assert metrics.view_consistency(embedded).unrelated == pytest.approx(torch.stack(pairs).mean().item(), abs=1e-6)


def disc(radius: float, size: int = 64, center: tuple[float, float] = (32.0, 32.0)) -> torch.Tensor:
    """Alphas [1, 1, size, size] of a disc with hard edges."""
    places = torch.arange(size) + 0.5
    inside = (places - center[0]) ** 2 + (places[:, None] - center[1]) ** 2 < radius**2
    return inside[None, None].float()


def test_haze_is_mean_alpha_outside_of_the_hull() -> None:
    assert metrics.haze(disc(12)) == 0
    hazy = disc(12).clamp(min=0.03)
    assert metrics.haze(hazy) == pytest.approx(0.03, rel=1e-5)
    assert metrics.haze(torch.full((2, 1, 64, 64), 0.2)) == pytest.approx(0.2)  # nothing is solid
    assert metrics.haze(torch.ones(1, 1, 64, 64)) == 0  # nothing is outside


def test_soft_edges_are_not_haze() -> None:
    """An edge that falls from 1 to 0 within two of 64 pixels."""
    soft = F.avg_pool2d(disc(12), 3, stride=1, padding=1)
    assert ((soft > 0) & (soft < 1)).sum() > 0 and metrics.haze(soft) == 0


def test_components_of_silhouettes() -> None:
    one, other = disc(6, center=(16, 16)), disc(6, center=(48, 48))
    assert metrics.components(one) == 1 and metrics.components(torch.zeros_like(one)) == 0
    assert metrics.components(one + other) == 2
    assert metrics.components(torch.cat([one, one + other])) == 2  # one view suffices
    corners = torch.zeros(1, 1, 8, 8)
    corners[0, 0, 2, 2] = corners[0, 0, 3, 3] = 1
    assert metrics.components(corners) == 1


def test_specks_are_not_counted() -> None:
    large = disc(25)
    large[0, 0, 0, 0] = 1  # one pixel, compared with 1,960
    assert metrics.components(large) == 1
    large[0, 0, 0, :2] = 1
    assert metrics.components(large) == 2


def test_sides_differ_where_both_are_covered() -> None:
    front, back = torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)
    front[0, :2] = 1  # the upper half is red in front
    covered = torch.ones(1, 4, 4)
    assert metrics.side_difference(front, back, covered) == pytest.approx(1 / 6)
    covered[:, 2:] = 0
    assert metrics.side_difference(front, back, covered) == pytest.approx(1 / 3)
    assert metrics.side_difference(front, front, covered) == 0
    assert metrics.side_difference(front, back, torch.zeros(1, 4, 4)) == 0


def test_a_second_face_is_a_back_that_should_differ_from_the_front() -> None:
    assert metrics.has_second_face(asset=0.01, true=0.2)
    assert not metrics.has_second_face(asset=0.15, true=0.2)
    assert not metrics.has_second_face(asset=0.0, true=0.01)  # a ball has no front
