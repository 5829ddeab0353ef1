"""Laws that hold for all estimators: determinism, detached inputs, independent orbits, exact resuming."""

from dataclasses import replace

import pytest
import torch

from sds3d.config.schema import SDEditConfig, VSDConfig
from sds3d.distillation import build_estimator
from sds3d.distillation.vsd import VSD
from sds3d.interfaces import Condition, Prompts, Stateful
from tests.helpers.estimators import CONFIGS, LATENTS, AnyPrior, close, estimate, kind
from tests.helpers.gaussian_prior import GaussianPrior


@pytest.mark.parametrize("cfg", CONFIGS, ids=kind)
def test_the_same_seed_gives_the_same_gradient(cfg, condition):
    first, again, other = (estimate(cfg, AnyPrior(0, torch.float64), condition, 300, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (cfg.kind == "ism")  # ISM samples nothing


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
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_nonfinite_predictions_are_not_clipped_to_an_image(cfg, value, condition):
    """They must reach the target, so that the step is skipped."""

    class Overflowing(GaussianPrior):
        def predict_noise(self, *args):
            predictions = super().predict_noise(*args)
            for prediction in predictions[:1]:  # of the prompt
                prediction[2, 0, 1, 1] = value
            return predictions

    gradient = estimate(cfg, Overflowing(0.5, torch.float64, pixel_latents=True), condition, 600)
    expected = torch.zeros_like(gradient, dtype=torch.bool)
    expected[2, 0, 1, 1] = True
    assert torch.equal(~gradient.isfinite(), expected)


@pytest.mark.parametrize("cfg", CONFIGS, ids=kind)
@pytest.mark.parametrize("times", [(150, 820), (20, 410)])
def test_orbits_are_independent(cfg, times, condition):
    """The gradients of two orbits at different noise levels equal those of each orbit alone."""
    cfg = replace(cfg, eta=0.0) if cfg.kind == "sdi" else cfg  # the noise of a batch is sampled at once
    latents = LATENTS.repeat(2, 1, 1, 1)
    timesteps = torch.tensor(times).repeat_interleave(4)
    both = estimate(cfg, AnyPrior(0, torch.float64), condition, timesteps, latents=latents)
    first = estimate(cfg, AnyPrior(0, torch.float64), condition, times[0])  # starts with the same samples
    close(both[:4], first)
    if cfg.kind == "ism" or cfg.kind == "sdi":
        close(both[4:], estimate(cfg, AnyPrior(0, torch.float64), condition, times[1]))


@pytest.mark.parametrize("cfg", CONFIGS, ids=kind)
def test_only_vsd_has_a_state(cfg) -> None:
    assert isinstance(build_estimator(cfg), Stateful) == (cfg.kind == "vsd")


def test_two_estimators_share_no_state(condition) -> None:
    cfg = VSDConfig()
    one, other = build_estimator(cfg), build_estimator(cfg)
    one(AnyPrior(0, torch.float64), LATENTS, torch.full((4,), 300), condition, torch.Generator())
    assert one.tensors() and other.tensors() == {}


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_vsd_learns_nothing_from_nonfinite_predictions(condition, value):
    class Overflowing(AnyPrior):
        value = 0.0

        def predict_noise(self, *args):
            predictions = super().predict_noise(*args)
            predictions[0][2, 0, 1, 1] += Overflowing.value
            return predictions

    def call():
        return vsd(prior, LATENTS, torch.full((4,), 300), condition, torch.Generator().manual_seed(1))

    prior, vsd = Overflowing(0, torch.float64), VSD(VSDConfig(lr=0.01, train_steps=3))
    call()
    before = {name: tensor.clone() for name, tensor in vsd.tensors().items()}
    Overflowing.value = value
    assert not call().isfinite().all()
    torch.testing.assert_close(vsd.tensors(), before, rtol=0, atol=0)
    Overflowing.value = 0.0
    assert call().isfinite().all()


@pytest.mark.parametrize("called", [False, True], ids=["new", "after another call"])
def test_vsd_resumes_exactly_from_its_tensors(condition, called):
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
    if called:
        call(resumed, 3)
    resumed.restore(tensors)
    torch.testing.assert_close(resumed.tensors(), tensors, rtol=0, atol=0)
    for seed, gradient in zip((1, 2), expected, strict=True):
        assert torch.equal(call(resumed, seed), gradient)
    torch.testing.assert_close(resumed.tensors(), whole.tensors(), rtol=0, atol=0)
