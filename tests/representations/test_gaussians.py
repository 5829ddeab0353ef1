"""The scene, its density, and its growth under a budget."""

import math

import pytest
import torch

from sds3d.config.schema import GaussiansConfig, LossConfig
from sds3d.interfaces import Render
from sds3d.optimization.losses import opaque, regularization
from sds3d.preflight.peak_memory import PeakMemory
from sds3d.representations.gaussians.densify import Densifier
from sds3d.representations.gaussians.splats import NAMES, Gaussians
from sds3d.representations.rotations import quats_to_rotations


def scene_of(count, **options):
    cfg = GaussiansConfig(num_init=count, **options)
    return Gaussians.random_ball(cfg, torch.Generator().manual_seed(0))


def densify(gaussians, step, optimizer, gradients):
    """One intervention after a step with image-space `gradients` [N]."""
    densifier = Densifier(gaussians.cfg, 1000)
    densifier.reset(gaussians)
    densifier.observe({"means2d_grad_norm": gradients, "radii": torch.ones(1, len(gradients))})
    densifier.intervene(gaussians, step, optimizer)


def test_density_of_a_rotated_needle_equals_its_closed_form():
    half = math.radians(90) / 2
    scene = Gaussians(
        {
            "means": torch.tensor([[0.1, 0.2, 0.3]]),
            "quats": torch.tensor([[math.cos(half), 0, 0, math.sin(half)]]),  # local x becomes world y
            "log_scales": torch.tensor([[0.3, 0.1, 0.05]]).log(),
            "logit_opacities": torch.tensor([0.4]).logit(),
            "logit_colors": torch.zeros(1, 3),
        },
        GaussiansConfig(),
    )
    points = torch.tensor([[0.1, 0.2, 0.3], [0.1, 0.5, 0.3], [0.2, 0.2, 0.3], [0.1, 0.2, 0.35]])
    expected = 0.4 * torch.exp(-0.5 * torch.tensor([0.0, 1.0, 1.0, 1.0]))
    torch.testing.assert_close(scene.density(points), expected)


def test_density_of_many_equals_the_plain_sum():
    scene = scene_of(50)
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    means, quats, scales, opacities, _ = scene.activated()
    rotations = quats_to_rotations(quats)
    precision = rotations @ torch.diag_embed(scales**-2) @ rotations.transpose(1, 2)
    offsets = points[:, None] - means
    squared = torch.einsum("pni,nij,pnj->pn", offsets, precision, offsets)
    expected = (opacities * torch.exp(-0.5 * squared)).sum(1)
    torch.testing.assert_close(scene.density(points), expected.detach(), atol=50 * math.exp(-8), rtol=1e-4)


def test_density_of_many_splats_is_summed_in_parts(monkeypatch):
    scene, points = scene_of(200), torch.rand(700, 3) - 0.5
    whole = scene.density(points)
    monkeypatch.setattr("sds3d.representations.gaussians.splats.PAIRS", {"cpu": 512 * 10})
    with PeakMemory() as memory:
        parts = scene.density(points)
    torch.testing.assert_close(parts, whole, atol=0, rtol=1e-5)  # another order of summation
    assert memory.peak < 24 * 512 * 10 + 400 * (200 + 700)


def test_rotations_are_orthonormal_and_a_half_turn_about_z_negates_x_and_y():
    rotations = quats_to_rotations(torch.randn(20, 4, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(rotations @ rotations.transpose(1, 2), torch.eye(3).expand(20, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        quats_to_rotations(torch.tensor([[0.0, 0, 0, 2]]))[0], torch.diag(torch.tensor([-1.0, -1, 1]))
    )


def step(scene, optimizer):
    sum(getattr(scene, name).square().sum() for name in NAMES).backward()
    optimizer.step()
    optimizer.zero_grad()


def test_growth_splits_the_splats_with_the_largest_gradients_and_keeps_the_moments_of_others():
    scene = scene_of(100, grow_fraction=0.1, densify_every=1, max_gaussians=102, max_scale=1.0)
    optimizer = torch.optim.Adam(scene.param_groups("all", 0.0))
    step(scene, optimizer)
    before = scene.means.detach().clone()
    moments = optimizer.state[scene.means]["exp_avg"].clone()
    gradients = torch.zeros(100)
    gradients[[7, 42]] = 1.0
    densify(scene, 0, optimizer, gradients)
    assert len(scene) == 102  # limited by the budget, not by the fraction
    for group in optimizer.param_groups:
        parameter = group["params"][0]
        assert parameter is getattr(scene, group["name"])
        assert optimizer.state[parameter]["exp_avg"].shape == parameter.shape
    kept = [i for i in range(100) if (scene.means.detach() == before[i]).all(1).any()]
    assert 7 not in kept and 42 not in kept and len(kept) == 98
    torch.testing.assert_close(optimizer.state[scene.means]["exp_avg"][:98], moments[kept])
    assert (optimizer.state[scene.means]["exp_avg"][98:] == 0).all()
    step(scene, optimizer)  # the optimizer continues with the new parameters


def test_oversized_splats_split_first():
    scene = scene_of(20, grow_fraction=0.1, densify_every=1, max_scale=1.0)
    with torch.no_grad():
        scene.log_scales[[4, 9]] = 1.0
    before = scene.means.detach()[[4, 9]].clone()
    densify(scene, 0, torch.optim.Adam(scene.param_groups("all", 0.0)), torch.ones(20))
    assert len(scene) == 22 and not (scene.means.detach()[:, None] == before).all(2).any()


@pytest.mark.parametrize(
    "options",
    [{"max_gaussians": 2}, {"max_gaussians": 3}, {}, {"densify_until": 0.0}, {"prune_opacity": 0.5}],
    ids=["full", "room for one", "room for all", "late", "all are faint"],
)
def test_no_splat_is_larger_than_the_limit_after_an_intervention(options):
    scene = scene_of(2, grow_fraction=1.0, densify_every=1, max_scale=0.15, **options)
    with torch.no_grad():
        scene.log_scales.copy_(torch.tensor([[1.0, 0.02, 0.3], [0.1, 0.15, 0.01]]).log())
    limit = scene.log_scales.detach()[1].amax()
    optimizer = torch.optim.Adam(scene.param_groups("all", 0.0))
    densify(scene, 0, optimizer, torch.tensor([0.0, 1.0]))
    assert scene.log_scales.amax() == limit
    assert (scene.log_scales.amin(-1) < limit - 1).all()  # the short axes are as they were, or split
    assert any(group["params"][0] is scene.log_scales for group in optimizer.param_groups)
    if len(scene) == 2:
        before = scene.log_scales.detach().clone()
        densify(scene, 1, optimizer, torch.zeros(len(scene)))
        assert torch.equal(scene.log_scales, before)  # what has the largest scale is not too large


def test_faint_and_distant_splats_are_pruned_but_never_the_last():
    scene = scene_of(10, densify_every=1, prune_opacity=0.05, densify_until=0.0, max_scale=1.0)
    optimizer = torch.optim.Adam(scene.param_groups("all", 0.0))
    with torch.no_grad():
        scene.logit_opacities[3] = -8.0
        scene.means[5] = torch.tensor([0.0, 0.0, 3.0])
    densify(scene, 0, optimizer, torch.zeros(10))
    assert len(scene) == 8
    with torch.no_grad():
        scene.logit_opacities.fill_(-8.0)
    densify(scene, 1, optimizer, torch.zeros(8))
    assert len(scene) == 8


@pytest.mark.parametrize("weight", ["sparsity", "opaque", "scales"])
def test_each_regularizer_acts_only_if_it_has_a_weight(weight):
    alphas = torch.full((1, 2, 2, 1), 0.5)
    render, scene = Render(alphas, alphas, alphas), scene_of(3)
    scene.log_scales.data.fill_(math.log(0.1))

    def total(cfg):
        return (regularization(render, cfg) + scene.regularization(cfg)).detach()

    assert total(LossConfig()) == 0
    expected = {"sparsity": 0.26**0.5, "opaque": math.log(2), "scales": 0.1}[weight]
    torch.testing.assert_close(total(LossConfig(**{weight: 2.0})), torch.tensor(2 * expected))


def test_the_opaque_loss_is_zero_for_solid_and_empty_pixels():
    assert opaque(torch.tensor([0.0, 1.0])) < 0.01
