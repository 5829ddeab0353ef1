"""The x0 form of SDS under a prior whose score is known exactly."""

import torch

from sds3d.config.schema import SDSConfig
from sds3d.distillation import build_estimator
from sds3d.distillation.sds import rescale_guidance
from tests.helpers.gaussian_prior import GaussianPrior


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


def test_gradient_under_a_point_prior_is_the_offset_from_its_point(condition):
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
