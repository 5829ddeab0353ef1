"""The x0-target form of SDS under a prior whose score is known exactly."""

import pytest
import torch

from sds3d.cameras import turntable
from sds3d.config.ramp import Ramp
from sds3d.config.schema import SDSConfig, StageConfig
from sds3d.distillation import build_estimator
from sds3d.distillation.sds import rescale_guidance
from sds3d.imaging.resize import resize
from sds3d.interfaces import Condition, Prompts
from sds3d.optimization.inputs import sample_timesteps
from tests.helpers.gaussian_prior import GaussianPrior


@pytest.fixture
def condition():
    prompts = Prompts(torch.tensor(0.7), torch.tensor(-0.2), torch.tensor(0.1))
    return Condition(prompts, turntable(4, 8), torch.zeros(4, 3))


def gradient(scale, rescale, condition, variance=0.0, t=400, seed=0, pixel_latents=False):
    latents = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(9))
    estimate = build_estimator(SDSConfig(guidance_scale=scale, rescale=rescale))
    timesteps = torch.full((4,), t)
    return latents, estimate(
        GaussianPrior(variance, pixel_latents=pixel_latents),
        latents,
        timesteps,
        condition,
        torch.Generator().manual_seed(seed),
    )


def test_a_point_prior_pulls_straight_to_its_point(condition):
    latents, grad = gradient(1.0, 0.0, condition)
    torch.testing.assert_close(grad, latents - 0.7, atol=1e-4, rtol=1e-4)


def test_guidance_extrapolates_from_the_negative_text(condition):
    latents, grad = gradient(5.0, 0.0, condition)
    torch.testing.assert_close(grad, latents - (-0.2 + 5 * 0.9), atol=1e-3, rtol=1e-3)


def test_the_target_is_an_image_where_latents_are_pixels(condition):
    latents, grad = gradient(5.0, 0.0, condition, pixel_latents=True)  # unclipped, x0 would be 4.3
    torch.testing.assert_close(latents - grad, torch.ones_like(latents))


def test_gradient_is_sigma_over_alpha_times_the_noise_residual(condition):
    prior, t = GaussianPrior(0.5), torch.full((4,), 400)
    latents, grad = gradient(3.0, 0.0, condition, variance=0.5)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    abar = prior.alphas_cumprod[400]
    noisy = abar.sqrt() * latents + (1 - abar).sqrt() * noise
    text, negative = prior.predict_noise(noisy, t, [condition.prompts.positive, condition.prompts.negative], None, None)
    residual = negative + 3.0 * (text - negative) - noise
    torch.testing.assert_close(grad, ((1 - abar) / abar).sqrt() * residual, atol=1e-4, rtol=1e-4)


def test_full_rescale_gives_each_orbit_the_spread_of_the_conditional():
    generator = torch.Generator().manual_seed(0)
    guided = 5 * torch.randn(8, 3, 6, 6, generator=generator)
    conditional = torch.randn(8, 3, 6, 6, generator=generator)
    rescaled = rescale_guidance(guided, conditional, 4, 1.0)
    for orbit in (slice(0, 4), slice(4, 8)):
        torch.testing.assert_close(rescaled[orbit].std(), conditional[orbit].std())
    torch.testing.assert_close(rescale_guidance(guided, conditional, 4, 0.0), guided)


def test_one_timestep_per_orbit_between_the_ramps():
    stage = StageConfig(num_orbits=6, t_min=Ramp(0.8, 0.1), t_max=Ramp(0.9, 0.3, 0.5))
    for progress, low, high in ((0.0, 0.8, 0.9), (0.5, 0.45, 0.3), (1.0, 0.1, 0.3)):
        timesteps = sample_timesteps(stage, GaussianPrior(0), progress, torch.Generator().manual_seed(3)).reshape(6, 4)
        assert (timesteps == timesteps[:, :1]).all() and len(timesteps[:, 0].unique()) > 1
        low, high = sorted((low, high))
        assert timesteps.min() >= int(1000 * low) and timesteps.max() <= 1000 * high


@pytest.mark.parametrize("before, after", [(128, 64), (96, 64), (48, 64), (64, 64)])
def test_resizing_is_bilinear_and_antialiased(before, after):
    images = torch.rand(2, 3, before, before, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(images, size=after, mode="bilinear", antialias=True)
    torch.testing.assert_close(resize(images, after), expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(resize(torch.full_like(images, 0.3), after), torch.full_like(expected, 0.3))
