"""The GPU's encoder: its structure against diffusers, and its kernels against float64."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from sds3d.native.graphs import CapturedCall
from sds3d.priors import vae_cuda
from sds3d.priors.norm_cuda import Norm, add_and_pad, can_normalize, normalize, sum_and_normalize
from sds3d.priors.vae import Vae, plain_moments
from sds3d.priors.vae_cuda import CudaEncoder, can_encode


def make_vae(channels, **options):
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    count = len(channels)
    model = AutoencoderKL(
        block_out_channels=channels, down_block_types=["DownEncoderBlock2D"] * count,
        up_block_types=["UpDecoderBlock2D"] * count, layers_per_block=2, latent_channels=4, **options,
    )  # fmt: skip
    for parameter in model.parameters():  # biases and gains that a test can miss
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model.requires_grad_(False).eval()


def plain_normalize(images, offset, norm, silu=True):
    dtype = images.dtype
    out = F.group_norm(images + offset[:, None, None].to(dtype), norm.groups, norm.weight.to(dtype),
                       norm.bias.to(dtype), norm.eps)  # fmt: skip
    return F.silu(out) if silu else out


def plain_add(images, residual, offset):
    total = images + offset[:, None, None].to(images.dtype)
    return total if residual is None else total + residual


def plain_sum_and_normalize(images, residual, offset, norm, silu=True):
    total = plain_add(images, residual, offset)
    return total, plain_normalize(total, torch.zeros_like(offset), norm, silu)


@pytest.mark.parametrize("quantized", [True, False])
def test_the_encoder_equals_that_of_diffusers(monkeypatch, quantized):
    """In float64 with operations of torch instead of the kernels, which tests the structure."""
    monkeypatch.setattr(vae_cuda, "add_and_pad", lambda *given: F.pad(plain_add(*given), (0, 1, 0, 1)))
    monkeypatch.setattr(vae_cuda, "normalize", plain_normalize)
    monkeypatch.setattr(vae_cuda, "sum_and_normalize", plain_sum_and_normalize)
    model = make_vae([32, 64, 64], use_quant_conv=quantized).double()
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64) * 2 - 1
    moments = CudaEncoder(model)(images)
    torch.testing.assert_close(moments, plain_moments(model, images), atol=1e-5, rtol=1e-5)  # biases are float32


def test_the_kernels_are_used_only_where_they_apply():
    assert not can_encode(make_vae([32, 64]).half())  # not on a GPU
    assert can_normalize(torch.nn.GroupNorm(32, 512)) and can_normalize(torch.nn.GroupNorm(32, 32))
    assert not can_normalize(torch.nn.GroupNorm(32, 320))  # 40 lanes of eight do not divide a block


def on_gpu(*tensors):
    return [x.to("cuda").contiguous(memory_format=torch.channels_last) for x in tensors]


def relative(actual, expected):
    return ((actual.double() - expected).norm() / expected.norm()).item()


SIZES = [(1, 32, 8, 8, 32), (2, 128, 17, 5, 32), (4, 512, 32, 32, 32), (3, 256, 64, 64, 16), (1, 64, 3, 3, 64)]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("silu", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_normalization_and_its_gradients(size, silu, dtype):
    generator = torch.Generator().manual_seed(1)
    *shape, groups = size
    images, residual, v_out, v_sum = (torch.randn(shape, generator=generator).to(dtype) for _ in range(4))
    images = 2 * images + 3  # far from the mean that it is given
    offset, weight, bias = (torch.randn(shape[1], generator=generator) for _ in range(3))
    norm = Norm(weight.double(), bias.double(), groups, 1e-6)
    inputs = [x.double().requires_grad_() for x in (images, residual)]
    expected_alone = plain_normalize(inputs[0], offset.double(), norm, silu)
    [expected_v_alone] = torch.autograd.grad(expected_alone, inputs[:1], v_out.double())
    expected = plain_sum_and_normalize(*inputs, offset.double(), norm, silu)
    expected_v = torch.autograd.grad(expected, inputs, (v_sum.double(), v_out.double()))

    images, residual, v_out, v_sum = on_gpu(images, residual, v_out, v_sum)
    images.requires_grad_(), residual.requires_grad_()
    norm = Norm(weight.cuda(), bias.cuda(), groups, 1e-6)
    # a value is rounded once on its way out, and once where a sum is stored
    tolerance = {torch.float16: 1e-3, torch.bfloat16: 8e-3}[dtype]
    alone = normalize(images, offset.cuda(), norm, silu)
    assert relative(alone.cpu(), expected_alone) < tolerance
    [v_alone] = torch.autograd.grad(alone, images, v_out)
    assert relative(v_alone.cpu(), expected_v_alone) < tolerance
    total, out = sum_and_normalize(images, residual, offset.cuda(), norm, silu)
    gradients = torch.autograd.grad((total, out), (images, residual), (v_sum, v_out))
    for actual, wanted in zip((total, out, *gradients), (*expected, *expected_v), strict=True):
        assert relative(actual.cpu(), wanted) < 2 * tolerance
    padded = add_and_pad(images, residual, offset.cuda())
    expected = F.pad(plain_add(*inputs, offset.double()), (0, 1, 0, 1))
    assert relative(padded.cpu(), expected) < tolerance
    assert not padded[:, :, -1].any() and not padded[:, :, :, -1].any()
    v_padded = F.pad(v_out, (0, 1, 0, 1), value=9.0)
    for v_input in torch.autograd.grad(padded, (images, residual), v_padded):
        assert torch.equal(v_input, v_out)
    alone = add_and_pad(images, None, offset.cuda())
    assert relative(alone.cpu(), F.pad(plain_add(inputs[0], None, offset.double()), (0, 1, 0, 1))) < tolerance


@pytest.mark.cuda
@pytest.mark.network
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_encoder_on_a_gpu_is_as_accurate_as_diffusers(dtype):
    model = make_vae([128, 256, 512, 512])
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    cotangent = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3)).double()

    def run(vae, x, cotangent):
        x = x.requires_grad_()
        latents = vae.encode(x)
        return latents.detach().cpu(), torch.autograd.grad(latents, x, cotangent.to(latents))[0].cpu()

    truth = [x.double() for x in run(Vae(model), images.clone(), cotangent)]
    model = model.to("cuda", dtype).to(memory_format=torch.channels_last)
    fast = Vae(model)
    assert isinstance(fast.moments, CudaEncoder)
    slow = Vae(model)
    slow.moments = partial(plain_moments, model)
    errors = [
        [relative(actual, wanted) for actual, wanted in zip(run(vae, images.cuda(), cotangent), truth, strict=True)]
        for vae in (fast, slow)
    ]
    for of_fast, of_slow in zip(*errors, strict=True):
        assert of_fast < 1.2 * of_slow + 1e-3


@pytest.mark.cuda
@pytest.mark.network
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
def test_batches_are_encoded_equally_in_graphs_and_eagerly():
    model = make_vae([32, 64, 64]).to("cuda", torch.float16).to(memory_format=torch.channels_last)
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(2)).cuda()

    def slope(batch):
        vae = Vae(model, batch)

        def function(x):
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                latents = vae.encode(x)
                loss = latents.square().sum()
            return latents, torch.autograd.grad(loss, x)[0]

        return function

    whole, parts = slope(0)(images), CapturedCall(slope(2))(images)
    for actual, expected in zip(parts, whole, strict=True):
        assert relative(actual, expected) < 2e-3  # convolutions of other batches round otherwise
