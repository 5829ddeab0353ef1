"""Estimators under a Gaussian prior, whose score is known exactly, equal closed forms."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from sds3d.config.schema import CSDConfig, ISMConfig, NFSDConfig, SDEditConfig, SDIConfig, VSDConfig
from sds3d.distillation.vsd import VSD
from tests.helpers.estimators import EPSILON, LATENTS, NEGATIVE, NULL, TEXT, close, estimate, levels
from tests.helpers.gaussian_prior import GaussianPrior


def gaussian_factor(start, end, variance):
    """The factor by which a DDIM step from `start` to `end` multiplies x_t - alpha text."""
    (a, s), (b, r) = levels(start), levels(end)
    return (a * b * variance + s * r) / (a * a * variance + s * s)


@pytest.mark.parametrize("t", [100, 400, 900])
def test_sds_in_epsilon_form_under_a_point_prior(condition, t):
    """The prior predicts all noise, so the gradient is alpha sigma times the offset from its point."""
    alpha, sigma = levels(t)
    cfg = replace(EPSILON, guidance_scale=3.0)
    grad = estimate(cfg, GaussianPrior(0.0, torch.float64), condition, t)
    close(grad, alpha * sigma * (LATENTS - (NEGATIVE + 3 * (TEXT - NEGATIVE))))


@pytest.mark.parametrize("variance", [0.0, 0.5])
@pytest.mark.parametrize(("t", "steps", "path"), [(900, 3, [900, 600, 300]), (400, 1, [400]), (10, 4, [10, 7, 5, 2])])
def test_sdedit_under_a_gaussian_prior(condition, variance, t, steps, path):
    """Each step multiplies the offset of the noisy latents from the guided mean by a factor; so does the last x0."""
    mean = NEGATIVE + 3 * (TEXT - NEGATIVE)
    alpha, sigma = levels(t)
    noise = torch.randn(LATENTS.shape, generator=torch.Generator().manual_seed(0)).double()
    offset = alpha * (LATENTS - mean) + sigma * noise
    for start, end in pairwise(path):
        offset = offset * gaussian_factor(start, end, variance)
    alpha, sigma = levels(path[-1])
    x0 = mean + alpha * variance / (alpha**2 * variance + sigma**2) * offset
    cfg = SDEditConfig(guidance_scale=3.0, steps=steps)
    close(estimate(cfg, GaussianPrior(variance, torch.float64), condition, t), LATENTS - x0)


@pytest.mark.parametrize("variance", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("t", [100, 400, 900])
def test_csd_under_a_gaussian_prior(condition, variance, t):
    alpha, sigma = levels(t)
    grad = estimate(CSDConfig(guidance_scale=3.0), GaussianPrior(variance, torch.float64), condition, t)
    close(grad, 3 * (NEGATIVE - TEXT) * sigma**2 / (alpha**2 * variance + sigma**2))


@pytest.mark.parametrize("variance", [0.0, 0.5])
def test_nfsd_above_its_switch_depends_only_on_texts(condition, variance):
    alpha, sigma = levels(400)
    grad = estimate(NFSDConfig(guidance_scale=3.0), GaussianPrior(variance, torch.float64), condition, 400)
    close(grad, (NEGATIVE - NULL + 3 * (NULL - TEXT)) * sigma**2 / (alpha**2 * variance + sigma**2))


def test_nfsd_below_its_switch_keeps_the_noise(condition):
    """A point prior predicts all of it, so sigma / alpha times the noise remains."""
    alpha, sigma = levels(100)
    noise = torch.randn(LATENTS.shape, generator=torch.Generator().manual_seed(0)).double()
    grad = estimate(NFSDConfig(guidance_scale=3.0), GaussianPrior(0.0, torch.float64), condition, 100)
    close(grad, LATENTS + sigma / alpha * noise - NULL + 3 * (NULL - TEXT))


def test_nfsd_switches_at_a_fraction_of_all_timesteps_in_each_orbit(condition):
    prior = GaussianPrior(0.5, torch.float64)
    below, above = (estimate(NFSDConfig(), prior, condition, t) for t in (199, 200))
    mixed = estimate(NFSDConfig(), prior, condition, [199, 199, 200, 200])
    close(mixed[:2], below[:2])
    close(mixed[2:], above[2:])
    later = estimate(NFSDConfig(t_switch=0.0), prior, condition, 199)
    assert (later - below).abs().max() > 0.1


def test_ism_under_a_point_prior_is_only_guidance(condition):
    """The path to a point is straight and its noise constant, so the two ends of the interval cancel."""
    grad = estimate(ISMConfig(guidance_scale=3.0), GaussianPrior(0.0, torch.float64), condition, 700)
    close(grad, 3 * (NEGATIVE - TEXT))


@pytest.mark.parametrize(("t", "path"), [(450, [0, 200, 400, 450]), (610, [0, 200, 400, 560, 610]), (30, [0, 30])])
def test_ism_under_a_gaussian_prior(condition, t, path):
    variance, previous = 0.5, path[-2]
    offset = LATENTS - levels(0)[0] * NEGATIVE
    offsets = {0: offset}
    for start, end in zip(path[:-1], path[1:], strict=True):
        offset = offset * gaussian_factor(start, end, variance)
        offsets[end] = offset
    (alpha, sigma), (alpha_s, sigma_s) = levels(t), levels(previous)
    spread, spread_s = alpha**2 * variance + sigma**2, alpha_s**2 * variance + sigma_s**2
    guided = sigma * (offsets[t] - 3 * alpha * (TEXT - NEGATIVE)) / spread
    grad = estimate(ISMConfig(guidance_scale=3.0), GaussianPrior(variance, torch.float64), condition, t)
    close(grad, sigma / alpha * (guided - sigma_s * offsets[previous] / spread_s))


def test_small_inversion_steps_follow_the_probability_flow(condition):
    """Along the flow, x_t - alpha m is proportional to its standard deviation. Half the step has half the error."""
    variance, t, errors = 0.5, 600, []
    mean, mean_of_inversion = (NEGATIVE + scale * (TEXT - NEGATIVE) for scale in (3.0, -2.0))
    (alpha, sigma), (alpha_0, sigma_0) = levels(t), levels(0)
    spread, spread_0 = alpha**2 * variance + sigma**2, alpha_0**2 * variance + sigma_0**2
    offset = (LATENTS - alpha_0 * mean_of_inversion) * math.sqrt(spread / spread_0)
    x0 = (alpha * variance * (alpha * mean_of_inversion + offset) + sigma**2 * mean) / spread
    cfg = SDIConfig(guidance_scale=3.0, inversion_guidance_scale=-2.0, eta=0.0)
    for steps in (50, 100, 200):
        grad = estimate(replace(cfg, inversion_steps=steps), GaussianPrior(variance, torch.float64), condition, t)
        errors.append((LATENTS - grad - x0).norm() / x0.norm())
    assert errors[2] < 0.01
    assert 0.4 < errors[1] / errors[0] < 0.6 and 0.4 < errors[2] / errors[1] < 0.6


def test_sdi_under_a_point_prior_is_the_offset_from_its_point(condition):
    cfg = SDIConfig(guidance_scale=3.0, inversion_guidance_scale=-2.0, inversion_steps=10, eta=0.3)
    grad = estimate(cfg, GaussianPrior(0.0, torch.float64), condition, 700)
    close(grad, LATENTS - (NEGATIVE + 3 * (TEXT - NEGATIVE)))


@pytest.mark.parametrize(("t", "path"), [(250, [0, 100, 200, 250]), (300, [0, 100, 200, 300]), (40, [0, 40])])
def test_sdi_under_a_gaussian_prior(condition, t, path):
    variance = 0.5
    inverted, guided = (NEGATIVE + scale * (TEXT - NEGATIVE) for scale in (-2.0, 3.0))
    offset = LATENTS - levels(0)[0] * inverted
    for start, end in zip(path[:-1], path[1:], strict=True):
        offset = offset * gaussian_factor(start, end, variance)
    alpha, sigma = levels(t)
    spread = alpha**2 * variance + sigma**2
    x0 = (alpha * variance * (alpha * inverted + offset) + sigma**2 * guided) / spread
    cfg = SDIConfig(guidance_scale=3.0, inversion_guidance_scale=-2.0, inversion_steps=10, eta=0.0)
    close(estimate(cfg, GaussianPrior(variance, torch.float64), condition, t), LATENTS - x0)


def learned(shift):
    """The state of a VSD whose twin of a GaussianPrior has learned to shift the mean."""
    tensors = {"value": shift, "step": 1.0, "exp_avg": 0.0, "exp_avg_sq": 1.0}
    return {f"0.{name}": torch.tensor(value, dtype=torch.float64) for name, value in tensors.items()}


@pytest.mark.parametrize("shift", [0.0, 0.4])
@pytest.mark.parametrize(("variance", "t"), [(0.0, 400), (0.5, 100), (2.0, 900)])
def test_vsd_under_a_gaussian_prior(condition, variance, t, shift):
    """The noise cancels, since both predictions contain it."""
    alpha, sigma = levels(t)
    vsd = VSD(VSDConfig(guidance_scale=3.0))
    vsd.restore(learned(shift))
    grad = vsd(GaussianPrior(variance, torch.float64), LATENTS, torch.full((4,), t), condition, torch.Generator())
    guided = NEGATIVE + 3 * (TEXT - NEGATIVE)
    close(grad, (TEXT + shift - guided) * sigma**2 / (alpha**2 * variance + sigma**2))


def test_vsd_vanishes_for_samples_of_the_guided_prior(condition):
    """The twin learns the mean of the renders; at first it has the mean of the text."""
    variance, guided = 0.5, NEGATIVE + 1.5 * (TEXT - NEGATIVE)
    renders = guided + math.sqrt(variance) * (LATENTS - LATENTS.mean()) / LATENTS.std()
    prior = GaussianPrior(variance, torch.float64)
    vsd = VSD(VSDConfig(guidance_scale=1.5, lr=0.01, train_steps=300))
    generator, timesteps = torch.Generator().manual_seed(0), torch.full((4,), 600)
    before, after = (vsd(prior, renders, timesteps, condition, generator) for _ in range(2))
    # 768 samples per step and about ten steps in the average of Adam: an error of 0.01 of a shift of 0.45
    assert vsd.twin.shift.item() == pytest.approx(guided - TEXT, abs=0.03)
    assert before.abs().min() > 0.3 and after.abs().max() < 0.03
