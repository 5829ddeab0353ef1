"""The estimators: exact under a Gaussian prior, equal to their papers' equations under any, and in the loop."""

import io
import math
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import torch

from sds3d.cameras import turntable
from sds3d.cli.progress import LineProgress
from sds3d.config.checks import field_types
from sds3d.config.load import dump_config, from_mapping, load_config
from sds3d.config.schema import Config, CSDConfig, ISMConfig, NFSDConfig, SDEditConfig, SDIConfig, SDSConfig, VSDConfig
from sds3d.distillation import build_estimator, kind_of
from sds3d.distillation.vsd import VSD
from sds3d.errors import UserError
from sds3d.interfaces import Condition, Prompts, Stateful
from sds3d.optimization.inputs import step_generator
from sds3d.representations.gaussians.splats import Gaussians
from sds3d.runs.folder import RunFolder
from tests.helpers.gaussian_prior import GaussianPrior
from tests.helpers.observer import optimize_alone
from tests.helpers.tiny_prior import write_tiny_prior

TEXT, NULL, NEGATIVE = 0.7, 0.1, -0.2
EPSILON = SDSConfig(form="epsilon")
CONFIGS = [SDSConfig(), EPSILON, CSDConfig(), NFSDConfig(), ISMConfig(), SDIConfig(), SDEditConfig(), VSDConfig()]
LATENTS = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def kind(cfg):
    return "sds-epsilon" if cfg == EPSILON else cfg.kind


class AnyPrior(GaussianPrior):
    """Depends on all that it is given but the cameras, in no simple way, and is the score of nothing."""

    def predict_noise(self, noisy, timesteps, texts, cameras, backgrounds):
        self.calls.append(len(texts))
        t = timesteps[:, None, None, None] / 1000
        return [torch.sin(3 * noisy + 5 * (text + self.shift) + t + backgrounds.mean()) for text in texts]


@pytest.fixture
def condition():
    prompts = Prompts(torch.tensor(TEXT), torch.tensor(NEGATIVE), torch.tensor(NULL))
    return Condition(prompts, turntable(4, 8), torch.full((4, 3), 0.5))


def estimate(cfg, prior, condition, timesteps, seed=0, latents=LATENTS):
    """The gradient in float64; `timesteps` is one for all views, or one for each."""
    timesteps = torch.as_tensor(timesteps).expand(len(latents))
    return build_estimator(cfg)(prior, latents, timesteps, condition, torch.Generator().manual_seed(seed))


def close(actual, expected):
    expected = torch.as_tensor(expected, dtype=torch.float64).expand_as(actual)
    # texts and noise are float32; nothing above multiplies them by more than some tens
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def levels(t):
    """alpha and sigma of the test schedule, as numbers."""
    abar = GaussianPrior.alphas_cumprod[t].double().item()
    return math.sqrt(abar), math.sqrt(1 - abar)


def gaussian_factor(start, end, variance):
    """A DDIM step from `start` to `end` multiplies what x_t differs from alpha text by this."""
    (a, s), (b, r) = levels(start), levels(end)
    return (a * b * variance + s * r) / (a * a * variance + s * s)


# Exact under a Gaussian prior


@pytest.mark.parametrize("t", [100, 400, 900])
def test_sds_in_epsilon_form_under_a_point_prior(condition, t):
    """The prior sees all noise, so what is left is the way to its point, sigma^2 alpha / sigma of it."""
    alpha, sigma = levels(t)
    cfg = replace(EPSILON, guidance_scale=3.0)
    grad = estimate(cfg, GaussianPrior(0.0, torch.float64), condition, t)
    close(grad, alpha * sigma * (LATENTS - (NEGATIVE + 3 * (TEXT - NEGATIVE))))


@pytest.mark.parametrize("variance", [0.0, 0.5])
@pytest.mark.parametrize(("t", "steps", "path"), [(900, 3, [900, 600, 300]), (400, 1, [400]), (10, 4, [10, 7, 5, 2])])
def test_sdedit_under_a_gaussian_prior(condition, variance, t, steps, path):
    """Every step keeps a share of what the noisy latents differ from the guided mean; so does the last x0."""
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
def test_csd_leads_from_the_negative_text_to_the_text(condition, variance, t):
    alpha, sigma = levels(t)
    grad = estimate(CSDConfig(guidance_scale=3.0), GaussianPrior(variance, torch.float64), condition, t)
    close(grad, 3 * (NEGATIVE - TEXT) * sigma**2 / (alpha**2 * variance + sigma**2))


@pytest.mark.parametrize("variance", [0.0, 0.5])
def test_nfsd_at_much_noise_depends_on_texts_alone(condition, variance):
    alpha, sigma = levels(400)
    grad = estimate(NFSDConfig(guidance_scale=3.0), GaussianPrior(variance, torch.float64), condition, 400)
    close(grad, (NEGATIVE - NULL + 3 * (NULL - TEXT)) * sigma**2 / (alpha**2 * variance + sigma**2))


def test_nfsd_at_little_noise_keeps_the_noise_that_the_prior_sees(condition):
    """A point prior predicts all of it: sigma / alpha times the noise is what stays."""
    alpha, sigma = levels(100)
    noise = torch.randn(LATENTS.shape, generator=torch.Generator().manual_seed(0)).double()
    grad = estimate(NFSDConfig(guidance_scale=3.0), GaussianPrior(0.0, torch.float64), condition, 100)
    close(grad, LATENTS + sigma / alpha * noise - NULL + 3 * (NULL - TEXT))


def test_nfsd_switches_at_its_fraction_of_all_timesteps_for_each_orbit(condition):
    prior = GaussianPrior(0.5, torch.float64)
    below, above = (estimate(NFSDConfig(), prior, condition, t) for t in (199, 200))
    mixed = estimate(NFSDConfig(), prior, condition, [199, 199, 200, 200])
    close(mixed[:2], below[:2])
    close(mixed[2:], above[2:])
    later = estimate(NFSDConfig(t_switch=0.0), prior, condition, 199)
    assert (later - below).abs().max() > 0.1


def test_ism_under_a_point_prior_is_the_guidance_alone(condition):
    """The path to a point is straight, its noise the same all along: the interval itself says nothing."""
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
    """Along it x_t - alpha m grows as its standard deviation does; steps of half the length are off by half."""
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


def test_sdi_under_a_point_prior_pulls_straight_to_its_point(condition):
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


def learnt(shift):
    """What a twin of a GaussianPrior brings along that has learnt to shift its mean."""
    tensors = {"value": shift, "step": 1.0, "exp_avg": 0.0, "exp_avg_sq": 1.0}
    return {f"0.{name}": torch.tensor(value, dtype=torch.float64) for name, value in tensors.items()}


@pytest.mark.parametrize("shift", [0.0, 0.4])
@pytest.mark.parametrize(("variance", "t"), [(0.0, 400), (0.5, 100), (2.0, 900)])
def test_vsd_leads_from_what_it_has_learnt_to_the_guided_mean(condition, variance, t, shift):
    """Whatever the noise: that is in both predictions."""
    alpha, sigma = levels(t)
    vsd = VSD(VSDConfig(guidance_scale=3.0))
    vsd.restore(learnt(shift))
    grad = vsd(GaussianPrior(variance, torch.float64), LATENTS, torch.full((4,), t), condition, torch.Generator())
    guided = NEGATIVE + 3 * (TEXT - NEGATIVE)
    close(grad, (TEXT + shift - guided) * sigma**2 / (alpha**2 * variance + sigma**2))


def test_vsd_comes_to_rest_when_renders_are_what_the_prior_asks_for(condition):
    """The twin learns their mean, at first that of the text, and nothing is left to be moved."""
    variance, guided = 0.5, NEGATIVE + 1.5 * (TEXT - NEGATIVE)
    renders = guided + math.sqrt(variance) * (LATENTS - LATENTS.mean()) / LATENTS.std()
    prior = GaussianPrior(variance, torch.float64)
    vsd = VSD(VSDConfig(guidance_scale=1.5, lr=0.01, train_steps=300))
    generator, timesteps = torch.Generator().manual_seed(0), torch.full((4,), 600)
    before, after = (vsd(prior, renders, timesteps, condition, generator) for _ in range(2))
    # 768 draws a step, of which Adam averages some ten: the mean is off by 0.01, of the 0.45 that it had to move
    assert vsd.twin.shift.item() == pytest.approx(guided - TEXT, abs=0.03)
    assert before.abs().min() > 0.3 and after.abs().max() < 0.03


# The papers' equations, written out for one timestep


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


def test_csd_and_nfsd_are_their_equations(condition):
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


def test_sds_in_epsilon_form_is_its_equation(condition):
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
def test_the_forms_of_sds_differ_in_their_weights_alone(condition, t):
    """sigma^2 instead of sigma / alpha."""
    x0, eps = (estimate(SDSConfig(form=form), AnyPrior(0, torch.float64), condition, t) for form in ("x0", "epsilon"))
    alpha, sigma = levels(t)
    close(eps, alpha * sigma * x0)


def test_csd_is_the_part_of_sds_that_grows_with_the_guidance(condition):
    prior = AnyPrior(0, torch.float64)
    sds, unguided = (estimate(SDSConfig(guidance_scale=s), prior, condition, 400) for s in (2.5, 0.0))
    close(estimate(CSDConfig(guidance_scale=2.5), prior, condition, 400), sds - unguided)


def test_ism_is_its_equation(condition):
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


def test_sdedit_is_its_equations(condition):
    """From level to level with an x0 within what an image can be."""
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


def test_sdi_is_its_equation(condition):
    """(sigma / alpha) (eps - kappa), where kappa is the noise that leads from the render to its inversion."""

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


def test_vsd_is_its_equations(condition):
    """The gradient of the scene, then that of the twin, whose first step by Adam is lr against its sign."""
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

        own_t = torch.randint(1000, (1,), generator=same).item()
        noise = torch.randn(LATENTS.shape, generator=same)
        (alpha, sigma), moved = levels(own_t), vsd.twin.shift.item()
        if shift == 0.0:
            angle = 3 * (alpha * LATENTS + sigma * noise) + 5 * TEXT + own_t / 1000 + 0.5
            slope = (2 * (angle.sin() - noise) * 5 * angle.cos()).sum().item()
            assert moved == pytest.approx(-math.copysign(lr, slope), rel=1e-5)
        shift = moved
    assert prior.calls == [2, 2] and vsd.twin.calls == [1, 1, 1, 1]


def test_vsd_learns_at_all_levels_one_for_each_orbit(condition):
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
    # of some 300 uniform draws: 0.95^300 is 2e-7
    assert drawn.min() < 50 and drawn.max() >= 950


def test_noise_on_the_way_of_sdi_has_the_spread_of_ddim(condition):
    """One step to t: x_t moves by eta times the standard deviation of eq. 16, and x0 under a point prior not at all."""
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


# What all of them promise


@pytest.mark.parametrize("cfg", CONFIGS, ids=kind)
def test_the_same_seed_gives_the_same_gradient(cfg, condition):
    first, again, other = (estimate(cfg, AnyPrior(0, torch.float64), condition, 300, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (cfg.kind == "ism")  # ISM draws nothing


@pytest.mark.parametrize("cfg", CONFIGS, ids=kind)
def test_inputs_that_require_gradients_receive_none_and_change_nothing(cfg, condition):
    expected = estimate(cfg, AnyPrior(0, torch.float64), condition, 300)
    latents, backgrounds = LATENTS.clone().requires_grad_(), condition.backgrounds.clone().requires_grad_()
    prompts = Prompts(*(text.clone().requires_grad_() for text in condition.prompts))
    cameras = condition.cameras
    cameras = replace(cameras, viewmats=cameras.viewmats.clone().requires_grad_())
    attached = Condition(prompts, cameras, backgrounds)
    gradient = estimate(cfg, AnyPrior(0, torch.float64), attached, 300, latents=latents)
    assert torch.equal(gradient, expected) and not gradient.requires_grad
    assert all(x.grad is None for x in (latents, backgrounds, *prompts, cameras.viewmats))


@pytest.mark.parametrize("cfg", [*(cfg for cfg in CONFIGS if cfg.kind != "sdedit"), SDEditConfig(steps=1)], ids=kind)
def test_the_target_is_an_image_where_latents_are_pixels(cfg, condition):
    priors = (GaussianPrior(0.5, torch.float64, pixel_latents=pixels) for pixels in (False, True))
    free, clipped = (estimate(cfg, prior, condition, 600) for prior in priors)
    assert (LATENTS - free).abs().max() > 1
    close(LATENTS - clipped, (LATENTS - free).clamp(-1, 1))


@pytest.mark.parametrize("cfg", CONFIGS, ids=kind)
@pytest.mark.parametrize("times", [(150, 820), (20, 410)])
def test_orbits_do_not_mix(cfg, times, condition):
    """Two orbits at their own noise levels, of which one is inverted further, get what each gets alone."""
    cfg = replace(cfg, eta=0.0) if cfg.kind == "sdi" else cfg  # the noise of a batch is drawn at once
    latents = LATENTS.repeat(2, 1, 1, 1)
    timesteps = torch.tensor(times).repeat_interleave(4)
    both = estimate(cfg, AnyPrior(0, torch.float64), condition, timesteps, latents=latents)
    first = estimate(cfg, AnyPrior(0, torch.float64), condition, times[0])  # begins with the same draws
    close(both[:4], first)
    if cfg.kind == "ism" or cfg.kind == "sdi":
        close(both[4:], estimate(cfg, AnyPrior(0, torch.float64), condition, times[1]))


@pytest.mark.parametrize("cfg", CONFIGS, ids=kind)
def test_vsd_alone_has_a_state(cfg) -> None:
    assert isinstance(build_estimator(cfg), Stateful) == (cfg.kind == "vsd")


@pytest.mark.parametrize("made", [False, True], ids=["new", "gone astray"])
def test_vsd_goes_on_exactly_from_its_tensors(condition, made):
    cfg = VSDConfig(lr=0.01, train_steps=3)
    prior = AnyPrior(0, torch.float64)

    def call(vsd, seed):
        return vsd(prior, LATENTS, torch.full((4,), 300), condition, torch.Generator().manual_seed(seed))

    whole = VSD(cfg)
    assert whole.tensors() == {}
    call(whole, 0)
    tensors = {name: tensor.clone() for name, tensor in whole.tensors().items()}
    expected = [call(whole, seed) for seed in (1, 2)]

    resumed = VSD(cfg)
    if made:
        call(resumed, 3)
    resumed.restore(tensors)
    torch.testing.assert_close(resumed.tensors(), tensors, rtol=0, atol=0)
    for seed, gradient in zip((1, 2), expected, strict=True):
        assert torch.equal(call(resumed, seed), gradient)
    torch.testing.assert_close(resumed.tensors(), whole.tensors(), rtol=0, atol=0)


# Settings, and the loop


@pytest.mark.parametrize("cfg", CONFIGS, ids=kind)
def test_a_kind_is_all_it_takes_and_is_written_down_in_full(cfg, tmp_path: Path) -> None:
    form = [f"stages.0.estimator.form={cfg.form}"] if cfg.kind == "sds" else []
    made = load_config(None, [f"stages.0.estimator.kind={cfg.kind}", *form, "negative_prompt=blurry"], "a red mushroom")
    assert made.stages[0].estimator == cfg
    (tmp_path / "config.yaml").write_text(dump_config(made))
    assert load_config(tmp_path / "config.yaml", [], None) == made


def test_naming_the_kind_that_a_stage_has_changes_nothing() -> None:
    made = load_config(None, ["stages.1.estimator.kind=sdedit"], "a red mushroom")
    assert made.stages == Config().stages and made.stages[1].estimator != SDEditConfig()


@pytest.mark.parametrize("cfg", CONFIGS, ids=kind)
def test_every_number_has_its_range(cfg) -> None:
    names = {field.name for field in fields(cfg) if type(getattr(cfg, field.name)) in (int, float)}
    for name in names:
        _, limits = get_args(field_types(type(cfg))[name])
        assert getattr(cfg, name) in limits
        with pytest.raises(UserError, match="out of range"):
            from_mapping(type(cfg), {name: 100_000})


def test_nfsd_asks_for_what_it_is_to_lead_away_from() -> None:
    with pytest.raises(UserError, match=r"stages.0.estimator.kind: nfsd needs a negative prompt"):
        load_config(None, ["stages.0.estimator.kind=nfsd"], "a red mushroom")


def test_what_the_epsilon_form_has_no_x0_for_is_an_error() -> None:
    settings = ["stages.0.estimator.form=epsilon", "stages.0.estimator.rescale=0.5"]
    with pytest.raises(UserError, match=r"stages.0.estimator.rescale: 0.5, but form epsilon has no x0 to rescale; set"):
        load_config(None, settings, "a red mushroom")
    load_config(None, settings[:1], "a red mushroom")
    load_config(None, settings[1:], "a red mushroom")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_prior(tmp_path_factory.mktemp("estimators") / "prior")


@pytest.mark.parametrize("cfg", CONFIGS[1:], ids=kind)
def test_the_loop_runs_on_it(cfg, tiny: Path, tmp_path: Path) -> None:
    little_noise = "t_min: {start: 0.15, end: 0.15}, t_max: {start: 0.25, end: 0.25}"  # fewer steps of an inversion
    estimator = f"{{kind: {cfg.kind}, form: {cfg.form}}}" if cfg.kind == "sds" else f"{{kind: {cfg.kind}}}"
    stage = f"{{name: only, steps: 4, prior_every: 2, resolution: 32, {little_noise}, estimator: {estimator}}}"
    settings = ["device=cpu", f"prior.path={tiny}", f"out={tmp_path}", f"stages=[{stage}]", "negative_prompt=mushroom"]
    made = load_config(None, [*settings, "representation.num_init=60"], "a red mushroom")
    result = optimize_alone(made, RunFolder.create(made), LineProgress(io.StringIO(), every=0))
    assert result.finished and result.step == 4
    start = Gaussians.random_ball(made.representation, step_generator(made.seed, "init", 0))
    for name, tensor in result.scene.gaussians.tensors().items():
        assert torch.isfinite(tensor).all() and not torch.equal(tensor.cpu(), start.tensors()[name])


@pytest.mark.parametrize("timestep", [1, 40, 99, 100, 101, 700, 999])
@pytest.mark.parametrize("cfg", [*CONFIGS, VSDConfig(train_steps=3), SDIConfig(inversion_steps=7)], ids=kind)
def test_calls_are_known_without_calling(cfg, timestep, condition):
    class Counting(AnyPrior):
        """Its twin counts in the same list."""

        def adapt(self, rank):
            twin, parameters = super().adapt(rank)
            twin.calls = self.calls
            return twin, parameters

    prior = Counting(0.5, torch.float64)
    estimate(cfg, prior, condition, timestep)
    calls = kind_of(cfg).calls(timestep, len(prior.alphas_cumprod))
    assert (calls.count, calls.texts) == (len(prior.calls), max(prior.calls))
