"""Cross-view attention, which makes a diffusers U-Net multi-view (MVDream, arXiv:2308.16512)."""

from __future__ import annotations

from typing import Any

from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor


class CrossViewAttention:
    """Self-attention over the tokens of all views of an object; the views are adjacent in the batch."""

    def __init__(self, num_views: int) -> None:
        self.num_views = num_views
        self.inner = AttnProcessor2_0()

    def __call__(self, attn: Attention, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        images, tokens, channels = hidden_states.shape
        joined = hidden_states.reshape(images // self.num_views, self.num_views * tokens, channels)
        return self.inner(attn, joined, *args, **kwargs).reshape(images, tokens, channels)


def attend_across_views(unet: UNet2DConditionModel, num_views: int) -> None:
    """Make every self-attention of `unet` span `num_views` views; call it after loading, diffusers does not save it."""
    unet.set_attn_processor(
        {
            name: CrossViewAttention(num_views) if ".attn1." in name else AttnProcessor2_0()
            for name in unet.attn_processors
        }
    )
