"""The text encoder of the pocket prior: a short BERT distilled from all-mpnet-base-v2 (Apache-2.0)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sds3d.files import read_json
from sds3d.priors.pocket.bert import Bert
from sds3d.priors.pocket.words import MAX_TOKENS
from sds3d.priors.quantize import load_int8, save_int8

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WIDTH = 384


class TextEncoder(nn.Module):
    """Maps prompts to context tokens of fixed length."""

    def __init__(self, folder: Path) -> None:
        """Load `folder`/tokenizer.json, config.json and weights.int8.safetensors."""
        from tokenizers import Tokenizer

        super().__init__()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_padding(length=MAX_TOKENS)
        self.tokenizer.enable_truncation(MAX_TOKENS)
        with torch.device("meta"):  # allocates no memory and draws no random numbers for weights that are replaced
            self.bert = Bert(read_json(folder / "config.json"))
        self.bert.load_state_dict(load_int8(folder / "weights.int8.safetensors"), assign=True)
        self.requires_grad_(False).eval()

    def tokenize(self, prompts: list[str]) -> Tensor:
        """Token ids [B, MAX_TOKENS] long, 0 where a prompt has ended."""
        return torch.tensor([encoding.ids for encoding in self.tokenizer.encode_batch(prompts)])

    def forward(self, ids: Tensor) -> Tensor:
        """Context [B, MAX_TOKENS, WIDTH] of unit variance; zeros after the end, so no mask is needed.

        The first token is the mean of all states, a sentence vector (arXiv:1908.10084), in place of the start token's
        state, which carries no meaning; the states of the words follow.
        """
        mask = ids != 0
        states = self.bert(ids, mask)
        weights = mask[..., None].to(states)
        sentence = (states * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp(min=1)
        states = torch.cat([sentence, states[:, 1:]], 1)
        return nn.functional.layer_norm(states, (WIDTH,)) * weights


def save_text_encoder(bert: PreTrainedModel, tokenizer_json: str, folder: Path) -> None:
    """Write the three files that `TextEncoder` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
    bert.config.to_json_file(folder / "config.json")
    save_int8(bert.state_dict(), folder / "weights.int8.safetensors")
