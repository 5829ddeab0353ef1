"""Adam equals that of torch bit for bit, without importing torch's compiler."""

import subprocess
import sys

import pytest
import torch

from sds3d.adam import Adam

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
    ),
]


def parameters_of(optimizer):
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


@pytest.mark.parametrize("device", DEVICES)
def test_updates_equal_those_of_torch(device):
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(size, generator=generator) for size in ((50, 3), (7,), (2, 4))]
    optimizers = []
    for kind, options in ((Adam, {}), (torch.optim.Adam, {"fused": True})):
        parameters = [torch.nn.Parameter(value.clone().to(device)) for value in values]
        groups = [{"params": parameters[:1], "lr": 0.1}, {"params": parameters[1:], "lr": 0.003}]
        optimizers.append(kind(groups, betas=(0.9, 0.99), eps=1e-15, **options))
    own, reference = optimizers
    for step in range(5):
        gradients = [torch.randn(value.shape, generator=generator) for value in values]
        for optimizer in optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] *= 0.9
            for index, (parameter, gradient) in enumerate(zip(parameters_of(optimizer), gradients, strict=True)):
                if (step, index) not in ((2, 1), (3, 0)):  # in these two steps, one parameter has no gradient
                    parameter.grad = gradient.clone().to(device)
            optimizer.step()
    for got, parameter in zip(parameters_of(own), parameters_of(reference), strict=True):
        torch.testing.assert_close(got, parameter, rtol=0, atol=0)
        state = {name: value.to(device) for name, value in reference.state[parameter].items()}
        torch.testing.assert_close(own.state[got], state, rtol=0, atol=0)


def test_adam_does_not_import_the_compiler():
    program = (
        "import sys, torch; from sds3d.adam import Adam\n"
        "parameter = torch.nn.Parameter(torch.ones(3)); parameter.sum().backward()\n"
        "Adam([{'params': [parameter], 'lr': 0.1}], (0.9, 0.99), 1e-15).step()\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
