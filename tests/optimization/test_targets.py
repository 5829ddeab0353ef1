"""The target images of a gradient in latents: exact for linear encoders, to first order for others."""

import pytest
import torch

from sds3d.optimization.losses import distillation_loss
from sds3d.optimization.targets import Target, find_target
from tests.helpers.gaussian_prior import GaussianPrior

IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class LinearEncoder(GaussianPrior):
    """Latents are a fixed matrix times the pixels."""

    def __init__(self):
        super().__init__(1.0)
        generator = torch.Generator().manual_seed(1)
        self.matrix = torch.randn(20, 192, generator=generator, dtype=torch.float64)

    def encode_images(self, images):
        return (images.flatten(1) @ self.matrix.T).reshape(len(images), 5, 2, 2)


class CurvedEncoder(LinearEncoder):
    def encode_images(self, images):
        return torch.tanh(super().encode_images(images) / 8)


def gradient_like(latents):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(latents.shape, generator=generator, dtype=torch.float64)


def image_gradient(images, target):
    images = images.clone().requires_grad_()
    return torch.autograd.grad(distillation_loss(images, target), images)[0]


@pytest.mark.parametrize("lasting", [True, False])
def test_the_first_step_with_pixel_latents_is_the_gradient_over_the_number_of_views(lasting):
    target = find_target(GaussianPrior(1.0), IMAGES, gradient_like, lasting)
    torch.testing.assert_close(image_gradient(IMAGES, target), 2 * gradient_like(IMAGES) / 4, atol=1e-12, rtol=1e-9)


def test_a_lasting_target_with_pixel_latents_gives_the_loss_in_latents():
    prior = GaussianPrior(1.0)
    target = find_target(prior, IMAGES, gradient_like, lasting=True)
    expected = prior.encode_images(IMAGES) - gradient_like(IMAGES)
    torch.testing.assert_close(prior.encode_images(target.images), expected, atol=1e-9, rtol=1e-9)
    elsewhere = torch.rand_like(IMAGES)
    loss = 0.5 * (prior.encode_images(elsewhere) - expected).square().sum() / 4
    torch.testing.assert_close(distillation_loss(elsewhere, target), loss, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("lasting", [True, False])
@pytest.mark.parametrize("prior", [LinearEncoder(), CurvedEncoder()])
def test_the_first_step_is_backpropagated_through_the_encoder(prior, lasting):
    target = find_target(prior, IMAGES, gradient_like, lasting)
    images = IMAGES.clone().requires_grad_()
    latents = prior.encode_images(images)
    [expected] = torch.autograd.grad(latents, images, gradient_like(latents) / 4)
    torch.testing.assert_close(image_gradient(IMAGES, target), expected, atol=1e-10, rtol=1e-9)


def test_a_lasting_target_with_a_linear_encoder_gives_the_loss_in_latents_along_the_gradient():
    """Up to a constant, for each view, since each has a different curvature."""
    prior = LinearEncoder()
    target = find_target(prior, IMAGES, gradient_like, lasting=True)
    latents = prior.encode_images(IMAGES)
    expected = latents - gradient_like(latents)
    slope = image_gradient(IMAGES, target)

    def losses(images):
        of_latents = 0.5 * (prior.encode_images(images) - expected).square().sum((1, 2, 3)) / 4
        of_images = 0.5 * (target.weights * (images - target.images).square()).sum((1, 2, 3))
        return of_latents, of_images

    start = losses(IMAGES)
    for length in (0.01, 0.1, 1.0):
        moved = losses(IMAGES - length * slope)
        torch.testing.assert_close(moved[0] - start[0], moved[1] - start[1], atol=1e-6, rtol=1e-6)


def test_a_zero_gradient_gives_a_zero_step():
    target = find_target(CurvedEncoder(), IMAGES, torch.zeros_like, lasting=True)
    assert torch.equal(target.images, IMAGES) and target.is_finite()


def test_nonfinite_gradients_stay_nonfinite():
    def broken(latents):
        gradient = torch.ones_like(latents)
        gradient[0, 0, 0, 0] = torch.nan
        return gradient

    for lasting in (True, False):
        assert not find_target(CurvedEncoder(), IMAGES, broken, lasting).is_finite()
    assert not Target(torch.tensor([torch.inf]), torch.ones(1)).is_finite()
    assert not Target(torch.ones(1), torch.tensor([torch.inf])).is_finite()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_encoder_that_overflows_at_the_probe_gives_no_target(value):
    """Only the second call of the encoder: the slope is finite, the curvature is not."""

    class Overflowing(CurvedEncoder):
        is_first = True

        def encode_images(self, images):
            latents = super().encode_images(images)
            latents, self.is_first = (latents if self.is_first else latents * value), False
            return latents

    assert not find_target(Overflowing(), IMAGES, torch.ones_like, lasting=True).is_finite()
