"""Priors, inputs and comparisons that the tests of the estimators share."""

import math

import torch

from sds3d.config.schema import CSDConfig, ISMConfig, NFSDConfig, SDEditConfig, SDIConfig, SDSConfig, VSDConfig
from sds3d.distillation import build_estimator
from tests.helpers.gaussian_prior import GaussianPrior

TEXT, NULL, NEGATIVE = 0.7, 0.1, -0.2
EPSILON = SDSConfig(form="epsilon")
CONFIGS = [SDSConfig(), EPSILON, CSDConfig(), NFSDConfig(), ISMConfig(), SDIConfig(), SDEditConfig(), VSDConfig()]
LATENTS = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def kind(cfg):
    """The name of a test case."""
    return "sds-epsilon" if cfg == EPSILON else cfg.kind


class AnyPrior(GaussianPrior):
    """A nonlinear function of all inputs except the cameras; it is the score of no distribution."""

    def predict_noise(self, noisy, timesteps, texts, cameras, backgrounds):
        self.calls.append(len(texts))
        t = timesteps[:, None, None, None] / 1000
        return [torch.sin(3 * noisy + 5 * (text + self.shift) + t + backgrounds.mean()) for text in texts]


def estimate(cfg, prior, condition, timesteps, seed=0, latents=LATENTS):
    """The gradient in float64; `timesteps` is one for all views, or one for each."""
    timesteps = torch.as_tensor(timesteps).expand(len(latents))
    return build_estimator(cfg)(prior, latents, timesteps, condition, torch.Generator().manual_seed(seed))


def close(actual, expected):
    """Asserts equality up to the precision of texts and noise, which are float32 and multiplied by less than 100."""
    expected = torch.as_tensor(expected, dtype=torch.float64).expand_as(actual)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def levels(t):
    """alpha and sigma of the test schedule, as numbers."""
    abar = GaussianPrior.alphas_cumprod[t].double().item()
    return math.sqrt(abar), math.sqrt(1 - abar)
