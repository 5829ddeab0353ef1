"""Low-rank corrections (LoRA, arXiv:2106.09685) of a network's attention."""

from __future__ import annotations

import copy
import re

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

# layer names of diffusers; the second line is for joint attention of image and text, as in Stable Diffusion 3
PROJECTION = re.compile(
    r"(^|\.)(to_q|to_k|to_v|to_out\.0|"
    r"add_q_proj|add_k_proj|add_v_proj|to_add_out)$"
)


def with_lora(module: nn.Module, rank: int) -> tuple[nn.Module, list[nn.Parameter]]:
    """A copy of `module` with LoRA corrections, initially zero, and their parameters to train.

    Every attention projection gets a correction. The copy shares all other weights, which are frozen.
    """
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    twin = copy.deepcopy(module, shared).requires_grad_(False)
    found = [x for x in twin.named_modules() if isinstance(x[1], nn.Linear) and PROJECTION.search(x[0])]
    assert found, f"{type(module).__name__} has no attention with the layer names of diffusers"
    generator = torch.Generator().manual_seed(0)  # the same start in every run
    parameters: list[nn.Parameter] = []
    for name, linear in found:
        corrected = Corrected(linear, rank, generator)
        parent, _, attribute = name.rpartition(".")
        setattr(twin.get_submodule(parent), attribute, corrected)
        parameters += [corrected.down, corrected.up]
    return twin, parameters


class Corrected(nn.Module):
    """A frozen linear layer plus up(down(x)), kept in float32 for any dtype of the layer."""

    def __init__(self, linear: nn.Linear, rank: int, generator: Generator) -> None:
        """`down` starts normal with standard deviation 1 / rank, as in diffusers, `up` with zeros."""
        super().__init__()
        self.linear = linear
        device = linear.weight.device
        self.down = nn.Parameter(torch.randn(rank, linear.in_features, generator=generator).to(device) / rank)
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank, device=device))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.linear(inputs)
        correction = F.linear(F.linear(inputs.to(self.down.dtype), self.down), self.up)
        return outputs + correction.to(outputs.dtype)
