"""The networks of the pocket prior equal those of diffusers and transformers with the same weights."""

import json
import subprocess
import sys

import pytest
import torch

from sds3d.priors.multiview import attend_across_views
from sds3d.priors.pocket import model
from sds3d.priors.pocket.text import TextEncoder
from sds3d.priors.pocket.unet import GroupNorm
from sds3d.priors.quantize import load_int8
from sds3d.priors.weights import POCKET


def reference_unet(folder):
    """The network of `folder` as diffusers builds it from the same files."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_config(json.loads((folder / "unet" / "config.json").read_text()))
    attend_across_views(unet, model.NUM_VIEWS)
    return unet


def inputs(batch, channels):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, channels, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
    timesteps = torch.randint(1000, (batch,), generator=generator)
    context, camera = (torch.randn(batch, *size, generator=generator) for size in ((24, 384), (19,)))
    return images, timesteps, context, camera


def test_the_shipped_network_equals_that_of_diffusers():
    reference = reference_unet(POCKET)
    reference.load_state_dict(load_int8(POCKET / "unet" / "weights.int8.safetensors"))
    reference = reference.eval().to(memory_format=torch.channels_last)
    images, timesteps, context, camera = inputs(8, 24)
    with torch.no_grad():
        expected = reference(images, timesteps, context, class_labels=camera).sample
        got = model.load_unet(POCKET).to(memory_format=torch.channels_last)(images, timesteps, context, camera)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.1


@pytest.mark.parametrize(("channels", "layers"), [((16, 32), 2), ((32, 64, 96), 1)])
def test_diffusers_reads_a_saved_network(tmp_path, channels, layers):
    """Tensors, gradients and random initial weights are equal, so each program can continue the other's training."""
    torch.manual_seed(3)
    unet = model.build_unet(channels, layers)
    model.save_unet(unet, tmp_path)
    torch.manual_seed(3)
    reference = reference_unet(tmp_path)
    torch.testing.assert_close(dict(reference.state_dict()), dict(unet.state_dict()), rtol=0, atol=0)

    unet, reference = unet.double(), reference.double()
    images, timesteps, context, camera = (x.double() if x.is_floating_point() else x for x in inputs(4, 12))
    expected = reference(images, timesteps, context, class_labels=camera).sample
    got = unet(images, timesteps, context, camera)
    # not 1e-12: both take the sines and cosines of the timestep in float32
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    for output in (got, expected):
        output.square().sum().backward()
    gradients = [dict(network.named_parameters()) for network in (unet, reference)]
    scale = max(parameter.grad.norm() for parameter in gradients[1].values())
    for name, parameter in gradients[1].items():
        assert (gradients[0][name].grad - parameter.grad).norm() < 1e-6 * scale, name


def test_the_noise_levels_equal_those_of_diffusers(tmp_path):
    from diffusers import DDIMScheduler

    model.save_unet(model.build_unet((16, 32)), tmp_path)
    for folder in (POCKET, tmp_path):
        scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
        assert scheduler.config.prediction_type == "v_prediction"
        torch.testing.assert_close(model.cumulative_alphas(), scheduler.alphas_cumprod, rtol=0, atol=0)


def test_the_text_encoder_equals_that_of_transformers():
    from transformers import BertConfig, BertModel

    folder = POCKET / "text_encoder"
    reference = BertModel(BertConfig.from_json_file(folder / "config.json"), add_pooling_layer=False).eval()
    reference.load_state_dict(load_int8(folder / "weights.int8.safetensors"))
    encoder = TextEncoder(folder)
    ids = encoder.tokenize(["a red mushroom with white dots", "", "a very " * 30])  # short, empty, cut off
    with torch.no_grad():
        expected = reference(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state
        got = encoder.bert(ids, ids != 0)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_building_the_prior_imports_neither_diffusers_nor_transformers():
    """Importing them takes longer than everything else before the first step."""
    program = (
        "import sys, torch; from sds3d.config.schema import PocketConfig; from sds3d.priors import build_prior\n"
        "build_prior(PocketConfig(), torch.device('cpu')).encode_prompt('a chair')\n"
        "print(sorted({'diffusers', 'transformers', 'torch._dynamo', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_channels_last_group_norm_equals_that_of_torch_and_keeps_the_layout():
    """Forward and backward, up to the order of sums."""
    torch.manual_seed(0)
    layer = GroupNorm(4, 16)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    images, v_out = (torch.randn(2, 16, 8, 6).contiguous(memory_format=torch.channels_last) for _ in range(2))
    images.requires_grad_()
    results = []
    for function in (layer.channels_last, torch.nn.GroupNorm.forward.__get__(layer)):
        out = function(images)
        results.append((out, *torch.autograd.grad(out, [images, layer.weight, layer.bias], v_out)))
    for channels_last, torchs in zip(*results, strict=True):
        torch.testing.assert_close(channels_last, torchs, rtol=1e-5, atol=1e-5)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in results[0][:2])
