"""Estimators under an arbitrary prior equal the equations of their papers, written out for one timestep."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from sds3d.config.schema import CSDConfig, ISMConfig, NFSDConfig, SDEditConfig, SDIConfig, SDSConfig, VSDConfig
from sds3d.distillation.vsd import VSD
from tests.helpers.estimators import EPSILON, LATENTS, NEGATIVE, NULL, TEXT, AnyPrior, close, estimate, levels
from tests.helpers.gaussian_prior import GaussianPrior


def epsilon(condition, noisy, t, text):
    prediction = AnyPrior(0, torch.float64).predict_noise
    return prediction(noisy, torch.full((4,), t), [torch.tensor(text)], condition.cameras, condition.backgrounds)[0]


def inverted(condition, path, predicted):
    """x_t and the prediction of each step; the DDIM step as x' = (a' / a) x + (s' - s a' / a) eps."""
    noisy, noises = LATENTS, []
    for start, end in zip(path[:-1], path[1:], strict=True):
        (a, s), (b, r) = levels(start), levels(end)
        noises.append(predicted(noisy, start))
        noisy = b / a * noisy + (r - s * b / a) * noises[-1]
    return noisy, noises


def test_csd_and_nfsd_equal_their_equations(condition):
    for t, domain_is_null in ((100, True), (400, False)):
        alpha, sigma = levels(t)
        noisy = alpha * LATENTS + sigma * torch.randn(LATENTS.shape, generator=torch.Generator().manual_seed(0))
        text, null, negative = (epsilon(condition, noisy, t, text) for text in (TEXT, NULL, NEGATIVE))
        prior = AnyPrior(0, torch.float64)
        close(
            estimate(CSDConfig(guidance_scale=2.5), prior, condition, t),
            sigma / alpha * 2.5 * (text - negative),
        )
        delta_d, delta_c = null if domain_is_null else null - negative, text - null
        close(
            estimate(NFSDConfig(guidance_scale=2.5), prior, condition, t),
            sigma / alpha * (delta_d + 2.5 * delta_c),
        )
        assert prior.calls == [2, 3]


def test_sds_in_epsilon_form_equals_its_equation(condition):
    t = 400
    _, sigma = levels(t)
    noise = torch.randn(LATENTS.shape, generator=torch.Generator().manual_seed(0)).double()
    noisy = math.sqrt(1 - sigma**2) * LATENTS + sigma * noise
    text, negative = (epsilon(condition, noisy, t, text) for text in (TEXT, NEGATIVE))
    prior = AnyPrior(0, torch.float64)
    grad = estimate(replace(EPSILON, guidance_scale=2.5), prior, condition, t)
    close(grad, sigma**2 * (negative + 2.5 * (text - negative) - noise))
    assert prior.calls == [2]


@pytest.mark.parametrize("t", [5, 400, 990])
def test_the_forms_of_sds_differ_only_in_weight(condition, t):
    """The epsilon form has sigma^2 instead of sigma / alpha."""
    x0, eps = (estimate(SDSConfig(form=form), AnyPrior(0, torch.float64), condition, t) for form in ("x0", "epsilon"))
    alpha, sigma = levels(t)
    close(eps, alpha * sigma * x0)


def test_csd_is_sds_minus_unguided_sds(condition):
    prior = AnyPrior(0, torch.float64)
    sds, unguided = (estimate(SDSConfig(guidance_scale=s), prior, condition, 400) for s in (2.5, 0.0))
    close(estimate(CSDConfig(guidance_scale=2.5), prior, condition, 400), sds - unguided)


def test_ism_equals_its_equation(condition):
    t, path = 610, [0, 200, 400, 560, 610]
    noisy, noises = inverted(condition, path, lambda x, t: epsilon(condition, x, t, NEGATIVE))
    text, negative = (epsilon(condition, noisy, t, text) for text in (TEXT, NEGATIVE))
    alpha, sigma = levels(t)
    prior = AnyPrior(0, torch.float64)
    grad = estimate(ISMConfig(guidance_scale=2.5), prior, condition, t)
    close(grad, sigma / alpha * (negative + 2.5 * (text - negative) - noises[-1]))
    assert prior.calls == [1, 1, 1, 1, 2]


def test_sdedit_of_one_step_is_sds(condition):
    prior = AnyPrior(0, torch.float64)
    one = estimate(SDEditConfig(guidance_scale=2.5, steps=1), prior, condition, 400)
    assert torch.equal(one, estimate(SDSConfig(guidance_scale=2.5), prior, condition, 400))
    estimate(SDEditConfig(steps=5), prior, condition, 400)
    assert prior.calls == [2] * 7


def test_sdedit_equals_its_equations(condition):
    """DDIM steps whose x0 is clamped to the range of an image."""
    t, path = 700, [700, 466, 233]
    noise = torch.randn(LATENTS.shape, generator=torch.Generator().manual_seed(0)).double()
    alpha, sigma = levels(t)
    noisy = alpha * LATENTS + sigma * noise
    for now, after in pairwise([*path, 0]):
        (alpha, sigma), (next_alpha, next_sigma) = levels(now), levels(after)
        text, negative = (epsilon(condition, noisy, now, text) for text in (TEXT, NEGATIVE))
        x0 = ((noisy - sigma * (negative + 2.5 * (text - negative))) / alpha).clamp(-1, 1)
        noisy = next_alpha * x0 + next_sigma * (noisy - alpha * x0) / sigma
    prior = AnyPrior(0, torch.float64, pixel_latents=True)
    close(LATENTS - estimate(SDEditConfig(guidance_scale=2.5, steps=3), prior, condition, t), x0)


def test_sdi_equals_its_equation(condition):
    """(sigma / alpha) (eps - kappa), where kappa is the noise between the render and its inversion."""

    def guided(noisy, t, scale):
        text, negative = (epsilon(condition, noisy, t, text) for text in (TEXT, NEGATIVE))
        return (1 - scale) * negative + scale * text

    t, path = 250, [0, 100, 200, 250]
    noisy, _ = inverted(condition, path, lambda x, t: guided(x, t, -2.0))
    alpha, sigma = levels(t)
    kappa = (noisy - alpha * LATENTS) / sigma
    prior = AnyPrior(0, torch.float64)
    grad = estimate(
        SDIConfig(guidance_scale=2.5, inversion_guidance_scale=-2.0, inversion_steps=10, eta=0.0),
        prior,
        condition,
        t,
    )
    close(grad, sigma / alpha * (guided(noisy, t, 2.5) - kappa))
    assert prior.calls == [2, 2, 2, 2]


def test_vsd_equals_its_equations(condition):
    """The gradient of the scene, then that of the twin; Adam's first step is -lr times its sign."""
    t, lr = 400, 0.01
    prior, vsd = AnyPrior(0, torch.float64), VSD(VSDConfig(guidance_scale=2.5, lr=lr))
    generator, same = (torch.Generator().manual_seed(0) for _ in range(2))
    shift = 0.0
    for _ in range(2):
        grad = vsd(prior, LATENTS, torch.full((4,), t), condition, generator)
        alpha, sigma = levels(t)
        noisy = alpha * LATENTS + sigma * torch.randn(LATENTS.shape, generator=same)
        text, negative = (epsilon(condition, noisy, t, text) for text in (TEXT, NEGATIVE))
        close(grad, sigma / alpha * (negative + 2.5 * (text - negative) - epsilon(condition, noisy, t, TEXT + shift)))

        twin_t = torch.randint(1000, (1,), generator=same).item()
        noise = torch.randn(LATENTS.shape, generator=same)
        (alpha, sigma), moved = levels(twin_t), vsd.twin.shift.item()
        if shift == 0.0:
            angle = 3 * (alpha * LATENTS + sigma * noise) + 5 * TEXT + twin_t / 1000 + 0.5
            slope = (2 * (angle.sin() - noise) * 5 * angle.cos()).sum().item()
            assert moved == pytest.approx(-math.copysign(lr, slope), rel=1e-5)
        shift = moved
    assert prior.calls == [2, 2] and vsd.twin.calls == [1, 1, 1, 1]


def test_vsd_trains_at_all_noise_levels_one_per_orbit(condition):
    class Watched(AnyPrior):
        def predict_noise(self, noisy, timesteps, texts, cameras, backgrounds):
            if len(texts) == 1 and timesteps[0] != 400:
                seen.append(timesteps.reshape(-1, 4))
            return super().predict_noise(noisy, timesteps, texts, cameras, backgrounds)

    seen: list[torch.Tensor] = []
    timesteps, latents = torch.full((12,), 400), LATENTS.repeat(3, 1, 1, 1)
    VSD(VSDConfig(train_steps=100))(Watched(0, torch.float64), latents, timesteps, condition, torch.Generator())
    drawn = torch.stack(seen)  # [steps, orbits, views]
    assert (drawn == drawn[..., :1]).all() and (drawn[:, 0] != drawn[:, 1]).any()
    # the probability for 300 uniform draws: 0.95^300 = 2e-7
    assert drawn.min() < 50 and drawn.max() >= 950


def test_noise_in_sdi_has_the_standard_deviation_of_ddim(condition):
    """One step to t: the noise added to x_t has eta times the standard deviation of eq. 16."""
    t, eta, prior = 80, 0.5, GaussianPrior(1.0, torch.float64)  # variance 1: x0 = alpha x_t + a constant
    latents = torch.zeros(4, 3, 64, 64, dtype=torch.float64)
    still, moved = (
        estimate(
            SDIConfig(guidance_scale=1.0, inversion_guidance_scale=1.0, inversion_steps=10, eta=e),
            prior,
            condition,
            t,
            latents=latents,
        )
        for e in (0.0, eta)
    )
    (alpha_0, sigma_0), (alpha, sigma) = levels(0), levels(t)
    expected = alpha * eta * sigma_0 / sigma * math.sqrt(1 - (alpha / alpha_0) ** 2)
    spread = (moved - still).std().item()
    assert spread == pytest.approx(expected, rel=0.02)  # 49,152 draws: a relative error of 0.3 %
