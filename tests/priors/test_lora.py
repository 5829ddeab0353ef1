"""Low-rank corrections are zero at first, and training changes nothing else."""

from pathlib import Path

import pytest
import torch
from torch import nn

from sds3d.cameras import turntable
from sds3d.priors.lora import Corrected, with_lora
from sds3d.priors.pocket import model
from sds3d.priors.pocket.prior import PocketPrior
from tests.helpers.tiny_prior import write_tiny_prior

RANK = 3


def pocket_network() -> tuple[nn.Module, tuple]:
    """A small network of the pocket prior, and arguments for it."""
    torch.manual_seed(0)
    return model.build_unet((16, 32)), (torch.randn(4, 12, 16, 16), *condition(4, 19))


def diffusers_network() -> tuple[nn.Module, tuple]:
    """A tiny network of MVDream in diffusers, and arguments for it."""
    from diffusers import UNet2DConditionModel

    from sds3d.priors.multiview import attend_across_views

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=384,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=16,
    )
    attend_across_views(unet, 4)
    return unet, (torch.randn(4, 4, 8, 8), *condition(4, 16))


def joint_network() -> tuple[nn.Module, tuple]:
    """A tiny Stable Diffusion 3, and arguments for it."""
    from diffusers import SD3Transformer2DModel

    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=8,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=384,
        caption_projection_dim=32,
        pooled_projection_dim=16,
    )
    timesteps, text, pooled = condition(4, 16)
    return transformer, (torch.randn(4, 16, 8, 8), text, pooled, timesteps)


def condition(batch: int, width: int) -> tuple:
    return torch.full((batch,), 500), torch.randn(batch, 6, 384), torch.randn(batch, width)


def output(network: nn.Module, arguments: tuple) -> torch.Tensor:
    result = network(*arguments)
    return result if isinstance(result, torch.Tensor) else result.sample


# the joint one: q, k, v of image and of text and out of the image in both blocks, out of the text in all but the last,
# where the text asks (its q) and nobody listens
@pytest.mark.parametrize(
    ("make", "count", "idle"),
    [(pocket_network, 8 * 4, 0), (diffusers_network, 8 * 4, 0), (joint_network, 2 * 7 + 1, 1)],
)
def test_training_the_copy_changes_only_its_corrections(make, count, idle) -> None:
    base, arguments = make()
    weights = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    before = output(base, arguments).detach()
    twin, parameters = with_lora(base, RANK)
    assert len(parameters) == 2 * count
    torch.testing.assert_close(output(twin, arguments), before, rtol=0, atol=0)

    own = {id(parameter) for parameter in parameters}
    assert {id(x) for x in twin.parameters()} - own == {id(x) for x in base.parameters()}
    assert {id(x) for x in twin.buffers()} == {id(x) for x in base.buffers()}

    goal = torch.randn(before.shape)
    losses = []
    for _ in range(5):
        loss = (output(twin, arguments) - goal).square().mean()
        losses.append(loss.item())
        loss.backward()
        assert all(x.grad is None for x in base.parameters())
        with torch.no_grad():
            for parameter in parameters:
                parameter -= 0.01 * parameter.grad.sign()
                parameter.grad = None
    assert losses == sorted(losses, reverse=True)
    assert sum(not up.any() for up in parameters[1::2]) == idle
    torch.testing.assert_close(output(base, arguments), before, rtol=0, atol=0)
    torch.testing.assert_close(dict(base.state_dict()), weights, rtol=0, atol=0)


def test_a_corrected_layer_equals_a_layer_with_the_corrected_weight() -> None:
    generator = torch.Generator().manual_seed(1)
    layer = Corrected(nn.Linear(40, 30), RANK, generator)
    layer.up.data.normal_(generator=generator)
    merged = nn.Linear(40, 30)
    merged.load_state_dict({"weight": layer.linear.weight + layer.up @ layer.down, "bias": layer.linear.bias})
    inputs = torch.randn(2, 5, 40, generator=generator)
    torch.testing.assert_close(layer(inputs), merged(inputs), rtol=1e-5, atol=1e-5)  # another order of sums


def test_corrections_start_with_the_spread_of_diffusers_and_are_reproducible() -> None:
    wide = nn.ModuleDict({"to_q": nn.Linear(20_000, 2)})
    (_, (down, up)), (_, (again, _)) = with_lora(wide, 4), with_lora(wide, 4)
    assert torch.equal(down, again) and down.data_ptr() != again.data_ptr()
    assert down.shape == (4, 20_000) and up.shape == (2, 4) and not up.any()
    assert down.std().item() == pytest.approx(1 / 4, rel=0.02)  # 80,000 draws: a relative error of 0.25 %


def test_corrections_of_a_half_precision_network_are_float32() -> None:
    half = nn.ModuleDict({"to_out": nn.ModuleList([nn.Linear(8, 8)]), "other": nn.Linear(8, 8)}).to(torch.bfloat16)
    twin, parameters = with_lora(half, RANK)
    assert {parameter.dtype for parameter in parameters} == {torch.float32}
    result = twin["to_out"][0](torch.randn(3, 8, dtype=torch.bfloat16))
    assert result.dtype == torch.bfloat16
    result.sum().backward()
    assert parameters[1].grad.dtype == torch.float32 and parameters[1].grad.any()
    assert isinstance(twin["other"], nn.Linear)


def test_a_network_without_attention_is_an_error() -> None:
    with pytest.raises(AssertionError, match="Sequential has no attention"):
        with_lora(nn.Sequential(nn.Linear(2, 2)), RANK)


def test_training_a_twin_of_the_pocket_prior_does_not_change_the_prior(tmp_path: Path) -> None:
    prior = PocketPrior(write_tiny_prior(tmp_path / "prior"), torch.device("cpu"))
    twin, parameters = prior.adapt(RANK)
    noisy = torch.randn(4, 12, 32, 32, generator=torch.Generator().manual_seed(0))
    texts = [prior.encode_prompt("red mushroom"), prior.encode_prompt("")]
    arguments = noisy, torch.full((4,), 300), texts, turntable(4, 64), torch.full((4, 3), 0.5)
    before, predicted = torch.stack(prior.predict_noise(*arguments)), torch.stack(twin.predict_noise(*arguments))
    torch.testing.assert_close(predicted, before, rtol=0, atol=0)
    assert predicted.requires_grad and not before.requires_grad
    predicted.square().sum().backward()
    for parameter in parameters:
        parameter.data -= 0.1 * parameter.grad.sign()
    after = torch.stack(twin.predict_noise(*arguments))
    assert (after - before).abs().max() > 1e-3
    torch.testing.assert_close(torch.stack(prior.predict_noise(*arguments)), before, rtol=0, atol=0)
