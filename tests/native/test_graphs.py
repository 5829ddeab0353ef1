"""A call recorded as a CUDA graph returns what the eager call returns."""

import pytest
import torch

from sds3d.cameras import turntable
from sds3d.native.graphs import CapturedCall
from sds3d.priors.pocket.prior import PocketPrior
from sds3d.priors.weights import POCKET

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


def test_replays_use_their_inputs_and_keep_earlier_results():
    calls = []

    def function(x, y):
        calls.append(x.shape)
        return x @ y + 1

    captured = CapturedCall(function)
    generator = torch.Generator("cuda").manual_seed(0)
    pairs = [torch.randn(2, n, n, device="cuda", generator=generator) for n in (8, 8, 16, 8)]
    results = [captured(x, y) for x, y in pairs]
    for (x, y), result in zip(pairs, results, strict=True):
        torch.testing.assert_close(result, x @ y + 1)
    assert len(calls) == 4  # two shapes, each warmed up and recorded


@pytest.mark.network
def test_the_recorded_prior_predicts_the_same_as_the_eager_one():
    prior, eager_prior = (PocketPrior(POCKET, torch.device("cuda")) for _ in range(2))
    eager_prior.predict_v = eager_prior._predict_v
    texts = [prior.encode_prompt("a red mushroom"), prior.encode_prompt("")]
    for seed, t in enumerate((300, 900)):
        images = torch.rand(4, 6 if prior.normals else 3, 64, 64, generator=torch.Generator().manual_seed(seed))
        noisy = prior.encode_images(images).cuda()
        timesteps, backgrounds = torch.full((4,), t, device="cuda"), torch.rand(4, 3, device="cuda")
        arguments = (noisy, timesteps, texts, turntable(4, 64, start_azimuth_deg=30.0 * seed).to("cuda"), backgrounds)
        recorded = torch.stack(prior.predict_noise(*arguments))
        eager = torch.stack(eager_prior.predict_noise(*arguments))
        assert (recorded - eager).norm() < 5e-3 * eager.norm()  # bfloat16
