"""CLIP text encoders as Stable Diffusion 1 and 2 use them: the hidden states of all tokens, not the pooled vector."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sds3d.priors.checkpoints import Network, build
from sds3d.priors.clip_tokenizer import END, check_ids, clean_text, read_tokenizer, token_id, tokenize
from sds3d.priors.texts import Encode


def load_text_encoder(network: Network, tokenizer_folder: Path, device: torch.device) -> Encode:
    """A function from a prompt to its last hidden states [L, D]; float32, so that cached results suit any device."""
    tokenizer = read_tokenizer(tokenizer_folder)
    model = build(network, device, torch.float32)
    check_ids(tokenizer_folder, tokenizer.get_vocab(), model.config.vocab_size)
    length = model.config.max_position_embeddings
    # OpenCLIP (exact GELU) was trained with zero padding, OpenAI's CLIP with the end token as padding
    padding = 0 if model.config.hidden_act == "gelu" else token_id(tokenizer, END)
    positions = torch.arange(length, device=device)[None]  # the model's own have no values

    def encode(prompt: str, suffix: str) -> Tensor:
        tokens = tokenize(tokenizer, clean_text(prompt), length, padding, suffix)
        ids = torch.tensor([tokens], device=device)
        return model(input_ids=ids, position_ids=positions).last_hidden_state[0]

    return encode
