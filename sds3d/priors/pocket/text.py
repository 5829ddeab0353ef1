"""The text side of the pocket prior: a short BERT distilled from all-MiniLM-L6-v2 (Apache-2.0), vocabulary pruned."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from sds3d.priors.pocket.quantize import load_int8, save_int8

MAX_TOKENS = 24  # later words of a prompt are not read
WIDTH = 384


class TextEncoder(nn.Module):
    """Prompts to context tokens of fixed length."""

    def __init__(self, folder: Path) -> None:
        """Load `folder`/tokenizer.json, config.json and weights.int8.safetensors."""
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel
        from transformers.utils import logging

        super().__init__()
        logging.disable_progress_bar()  # the load takes 20 ms and the terminal has a bar of its own
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_padding(length=MAX_TOKENS)
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.bert = BertModel.from_pretrained(
            None,
            config=BertConfig.from_json_file(folder / "config.json"),
            state_dict=load_int8(folder / "weights.int8.safetensors"),
            add_pooling_layer=False,
        )
        self.requires_grad_(False).eval()

    def tokenize(self, prompts: list[str]) -> Tensor:
        """Token ids [B, MAX_TOKENS] long, 0 where a prompt has ended."""
        return torch.tensor([encoding.ids for encoding in self.tokenizer.encode_batch(prompts)])

    def forward(self, ids: Tensor) -> Tensor:
        """Context [B, MAX_TOKENS, WIDTH]: unit-variance token states; zeros after the end, so no mask is needed."""
        mask = (ids != 0).to(ids)
        states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        return nn.functional.layer_norm(states, (WIDTH,)) * mask[..., None]


def prune_tokenizer(tokenizer_json: Path, num_words: int, extra_words: set[str]) -> tuple[dict, list[int]]:
    """A smaller tokenizer and the old ids of its tokens.

    Kept are the special tokens, all letters and digits alone and as endings, the `num_words` most frequent words (the
    published vocabulary is in order of frequency), 1,500 endings, and `extra_words`.
    """
    tokenizer = json.loads(tokenizer_json.read_text(encoding="utf-8"))
    vocab: dict[str, int] = tokenizer["model"]["vocab"]
    order = sorted(vocab, key=vocab.__getitem__)
    special = [t for t in order if t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")]
    single = [t for t in order if len(t.removeprefix("##")) == 1 and t.isascii()]
    words = [t for t in order if len(t) > 1 and t.isascii() and t.isalpha()]
    endings = [t for t in order if t.startswith("##") and len(t) > 3 and t.isascii()][:1500]
    kept = dict.fromkeys(special + single + words[:num_words] + endings + [w for w in words if w in extra_words])
    tokenizer["model"]["vocab"] = {token: i for i, token in enumerate(kept)}
    for token in tokenizer["added_tokens"]:
        token["id"] = tokenizer["model"]["vocab"][token["content"]]
    for name, entry in tokenizer["post_processor"]["special_tokens"].items():
        entry["ids"] = [tokenizer["model"]["vocab"][name]]
    tokenizer["truncation"] = tokenizer["padding"] = None
    return tokenizer, [vocab[token] for token in kept]


def save_text_encoder(bert: nn.Module, tokenizer: dict, folder: Path) -> None:
    """Write the three files that `TextEncoder` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    bert.config.to_json_file(folder / "config.json")
    save_int8(bert.state_dict(), folder / "weights.int8.safetensors")
