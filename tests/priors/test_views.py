"""View texts of single-view priors and Perp-Neg, in closed form for a network that predicts its text."""

import math

import pytest
import torch

from sds3d.cameras import Cameras, orbit_cameras
from sds3d.config.load import load_config
from sds3d.errors import UserError
from sds3d.priors.schedule import make_schedule
from sds3d.priors.texts import PromptCache
from sds3d.priors.views import VIEWS, SingleViewPrior, keep_away, perp_neg_weights, seen_sides, side_mixture
from tests.helpers.hostile import HOSTILE

CPU = torch.device("cpu")
NOISY = torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(0))


class SaysItsText(torch.nn.Module):
    """The predicted noise is the text itself, [B, 2, 8] -> [B, 4, 2, 2]."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def forward(self, batch, timesteps, texts, cameras):
        self.rows.append(len(batch))
        return texts.reshape(batch.shape).clone()


def make_prior(**options):
    """A prior of random texts, and the prompts that its encoder received."""
    seen = []

    def encode(prompt, suffix):
        seen.append(prompt + suffix)
        return torch.randn(2, 8, generator=torch.Generator().manual_seed(len(seen)))

    texts = PromptCache(lambda: encode, None, CPU, torch.float32)
    options = {"view_texts": True, "perp_neg": False} | options
    prior = SingleViewPrior(
        SaysItsText(), None, make_schedule({}), texts, resolution=16, compiles=False, device=CPU, **options
    )
    return prior, seen


def cameras_at(azimuths_deg, elevations_deg=0.0):
    azimuths = torch.tensor(azimuths_deg, dtype=torch.float64).deg2rad()
    elevations = torch.as_tensor(elevations_deg, dtype=torch.float64).deg2rad().expand(azimuths.shape)
    cameras = orbit_cameras(azimuths, elevations, torch.full_like(azimuths, 2.5), 0.7, 16)
    return Cameras(cameras.viewmats.float(), cameras.Ks.float(), 16, 16)


def predict(prior, texts, cameras):
    return prior.predict_noise(NOISY, torch.tensor([500] * 3), texts, cameras, torch.zeros(3, 3))


def near(actual, expected, tolerance=1e-5):  # azimuths go through float32 matrices
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype), atol=tolerance, rtol=0)


@pytest.mark.parametrize("sign", [1, -1])
def test_sides_change_at_45_and_135_degrees_in_both_directions(sign):
    azimuths = [0, 44.9, 45.1, 90, 134.9, 135.1, 180, 225.1 - 360]
    sides = seen_sides(cameras_at([sign * azimuth for azimuth in azimuths], 20.0))
    assert sides.tolist() == [0, 0, 1, 1, 1, 2, 2, 1]


def test_overhead_starts_above_60_degrees_and_never_below_the_object():
    elevations = [59.9, 60.1, 90, -89, -61]
    assert seen_sides(cameras_at([180] * 5, elevations)).tolist() == [2, 3, 3, 2, 2]
    mixture = side_mixture(cameras_at([180] * 5, elevations))
    near(mixture[:, 3], [0, 1, 1, 0, 0], 0)
    near(perp_neg_weights(cameras_at([0] * 5, elevations))[1], [-1.574, 0, 0, -1.574, -1.574])


def test_the_positive_text_is_linear_in_azimuth_between_the_sides():
    near(
        side_mixture(cameras_at([0, 45, -90, 120, 180])),
        [[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 2 / 3, 1 / 3, 0], [0, 0, 1, 0]],
    )
    near(side_mixture(cameras_at(list(range(-180, 180, 7)))).sum(1), torch.ones(52))


def test_weights_of_perp_neg_equal_its_formula():
    half = math.exp(-0.5)
    # -(a exp(-b r) + c); front: f_fs(1) at 0, f_fs(0) and f_fsb(1) at 90, f_fsb(0) at 180; side: f_sf(0) at 0, f_sf(1)
    # and f_sb(1) at 90, f_sb(0) at 180; f_fs(1/2) and f_sf(1/2) at 45
    front, side = perp_neg_weights(cameras_at([0, 89.999, 90.001, 180, -45]))
    quarter = -(4 * math.exp(-0.25) - 2.426)
    near(front, [-(4 * half - 2.426), -1.574, -(half + 0.967), -1.967, quarter], 1e-4)
    near(side, [-1.574, -(4 * half - 2.426), -(half - 0.606), -0.394, quarter], 1e-4)
    assert (front[1] - front[2]).abs() < 1e-3 and (side[1] - side[2]).abs() < 1e-3  # no jump between the halves


def test_negative_directions_are_orthogonal_to_the_positive_one():
    base, positive, front, side = torch.randn(4, 3, 4, 2, 2, generator=torch.Generator().manual_seed(1)).double()
    weights = torch.tensor([[-1.0, -2.0, 0.0], [-0.5, 0.0, 0.0]]).double()
    added = keep_away(base, positive, front, side, weights) - positive
    near((added * (positive - base)).sum((1, 2, 3)), torch.zeros(3), 1e-12)
    assert added[:2].flatten(1).norm(dim=1).min() > 0.1 and not added[2].any()
    alone = keep_away(base, positive, front, base, weights) - positive
    # what is left of the second view is along the front text alone, and against it
    away, towards = (x[1] - base[1] for x in (front, positive))
    perpendicular = away - (away * towards).sum() / towards.square().sum() * towards
    near(alone[1], -2 * perpendicular, 1e-12)


def test_parallel_negatives_change_nothing():
    base, positive = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(1)).double()
    weights = torch.full((2, 3), -1.5).double()
    near(keep_away(base, positive, base, base, weights), positive, 0)
    near(keep_away(base, positive, base + 3 * (positive - base), positive, weights), positive, 1e-12)
    near(keep_away(base, base, base, base, weights), base, 0)


@pytest.mark.parametrize("prompt", ["a red mushroom", *HOSTILE])
def test_the_view_is_appended_to_the_unchanged_prompt(prompt):
    prior, seen = make_prior()
    text = prior.encode_prompt(prompt)
    assert text.shape == (4, 2, 8) and seen == [prompt + view for view in VIEWS]
    assert prior.encode_prompt(prompt, negative=True).shape == (1, 2, 8) and seen[-1] == prompt
    assert prior.encode_prompt("").shape == (1, 2, 8)  # nothing has no sides
    assert make_prior(view_texts=False)[0].encode_prompt(prompt).shape == (1, 2, 8)


def test_every_camera_has_the_text_of_its_side_in_the_order_of_texts():
    prior, _ = make_prior()
    text, negative = prior.encode_prompt("a red mushroom"), prior.encode_prompt("blurry", negative=True)
    cameras = cameras_at([170, 0, 90], [0.0, 70.0, 0.0])
    for texts in ([text, negative], [negative, text, text]):
        for given, predicted in zip(texts, predict(prior, texts, cameras), strict=True):
            expected = text[[2, 3, 1]] if len(given) == 4 else negative.expand(3, -1, -1)
            assert torch.equal(predicted, expected.reshape(NOISY.shape))
    assert prior.network.rows == [2 * 3, 3 * 3]


def test_perp_neg_starts_from_the_first_text_for_all_cameras():
    prior, _ = make_prior(perp_neg=True)
    text = prior.encode_prompt("a red mushroom")
    base, other = (prior.encode_prompt(prompt, negative=True) for prompt in ("blurry", "ugly"))
    cameras = cameras_at([0, 90, 130])
    first, second, third = predict(prior, [text, base, other], cameras)
    assert torch.equal(second[0], base.reshape(4, 2, 2)) and torch.equal(third[0], other.reshape(4, 2, 2))
    images = text.reshape(4, 4, 2, 2)
    positive = torch.einsum("cv,vzhw->czhw", side_mixture(cameras), images)
    expected = keep_away(second, positive, images[0].expand(3, -1, -1, -1), images[1].expand(3, -1, -1, -1),
                         perp_neg_weights(cameras))  # fmt: skip
    near(first, expected)
    assert prior.network.rows == [5 * 3]  # two more than without
    again = predict(prior, [other, text, base], cameras)[1]
    assert (again - first).abs().max() > 0.1  # another base


def test_perp_neg_without_such_a_text_starts_from_the_empty_prompt():
    prior, seen = make_prior(perp_neg=True)
    text = prior.encode_prompt("a red mushroom")
    asked = len(seen)
    (alone,) = predict(prior, [text], cameras_at([0, 90, 130]))
    with_empty = predict(prior, [text, prior.encode_prompt("")], cameras_at([0, 90, 130]))
    near(alone, with_empty[0])
    assert len(seen) == asked and prior.network.rows == [4 * 3] * 2  # the text encoder was not needed again


def test_perp_neg_with_equal_texts_of_all_sides_equals_the_plain_text():
    prior, _ = make_prior(perp_neg=True)
    same = prior.encode_prompt("a ball", negative=True)
    texts = [same.expand(4, -1, -1), prior.encode_prompt("", negative=True)]
    near(predict(prior, texts, cameras_at([0, 60, 130]))[0], same.reshape(1, 4, 2, 2).expand(3, -1, -1, -1))


@pytest.mark.parametrize("perp_neg", [False, True])
def test_a_call_reads_nothing_back_so_that_it_can_be_recorded(perp_neg):
    """Tensors on the meta device have no values to read."""
    prior, _ = make_prior(perp_neg=perp_neg)
    prior.schedule = prior.schedule.to(torch.device("meta"))
    prior.texts.known = {("", ""): torch.empty(2, 8, device="meta")}
    texts = [torch.empty(4, 2, 8, device="meta"), torch.empty(1, 2, 8, device="meta")]
    cameras = cameras_at([0, 90, 130]).to("meta")
    noisy, timesteps = NOISY.to("meta"), torch.tensor([500] * 3, device="meta")
    assert [x.shape for x in prior.predict_noise(noisy, timesteps, texts, cameras, None)] == [NOISY.shape] * 2


def test_the_trained_twin_has_views_but_no_perp_neg(monkeypatch):
    weight = torch.nn.Parameter(torch.zeros(1))
    monkeypatch.setattr("sds3d.priors.latent.with_lora", lambda network, rank: (network, [weight]))
    prior, _ = make_prior(perp_neg=True)
    twin, parameters = prior.adapt(4)
    assert parameters == [weight] and prior.perp_neg and not twin.perp_neg
    text = prior.encode_prompt("a red mushroom")
    (predicted,) = predict(twin, [text], cameras_at([0, 90, 180]))
    assert torch.equal(predicted, text[:3].reshape(NOISY.shape))


@pytest.mark.parametrize("key", ["prior", "stages.1.prior"])
def test_perp_neg_without_view_texts_is_an_error(key):
    choice = [f"{key}.kind=stable-diffusion", f"{key}.perp_neg=true", f"{key}.view_texts=false"]
    with pytest.raises(UserError, match=rf"{key}.perp_neg: steers away .* set view_texts=true"):
        load_config(None, choice, "a red mushroom")
