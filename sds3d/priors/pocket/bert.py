"""BERT without its pooling layer (Devlin et al., arXiv:1810.04805).

Its tensors have the same names as in transformers, and tests/priors/test_networks.py compares the outputs. It does not
use transformers, since importing that takes much longer than encoding a prompt.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Bert(nn.Module):
    """Maps tokens to states."""

    def __init__(self, config: dict[str, Any]) -> None:
        """`config` is the content of a BERT folder's config.json."""
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict({
            "layer": nn.ModuleList([Layer(config) for _ in range(config["num_hidden_layers"])])
        })  # fmt: skip

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """States [B, L, D] of token `ids` [B, L], which attend only to tokens whose `mask` [B, L] is True."""
        states = self.embeddings(ids)
        for layer in self.encoder["layer"].children():
            states = layer(states, mask)
        return states


class Embeddings(nn.Module):
    """The sum of word, position and type embeddings; all tokens have the first type."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = _table(config["vocab_size"], width)
        self.position_embeddings = _table(config["max_position_embeddings"], width)
        self.token_type_embeddings = _table(config["type_vocab_size"], width)
        self.LayerNorm = nn.LayerNorm(width, config["layer_norm_eps"])

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        types = self.token_type_embeddings.weight[0]
        return self.LayerNorm(self.word_embeddings(ids) + types + self.position_embeddings(places))


class Layer(nn.Module):
    """Self-attention and a feed-forward layer, each with a residual sum and layer normalization."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, inner, eps = config["hidden_size"], config["intermediate_size"], config["layer_norm_eps"]
        self.attention = Attention(width, config["num_attention_heads"], eps)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = Output(inner, width, eps)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        states = self.attention(states, mask)
        return self.output(F.gelu(self.intermediate["dense"](states)), states)


class Attention(nn.Module):
    """Self-attention with a residual sum and layer normalization."""

    def __init__(self, width: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.self = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.output = Output(width, width, eps)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (
            self.self[name](states).unflatten(2, (self.heads, -1)).transpose(1, 2) for name in ("query", "key", "value")
        )
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        return self.output(seen.transpose(1, 2).flatten(2), states)


class Output(nn.Module):
    """A linear layer, a residual sum and layer normalization."""

    def __init__(self, before: int, after: int, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(before, after)
        self.LayerNorm = nn.LayerNorm(after, eps)

    def forward(self, inner: Tensor, states: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(inner) + states)


def _table(rows: int, width: int) -> nn.Embedding:
    """An embedding without values, which are always loaded; torch would import its compiler to draw some on "meta"."""
    return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)
