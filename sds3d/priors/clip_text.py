"""CLIP text encoders as Stable Diffusion 1 and 2 use them: the hidden states of all tokens, not the pooled vector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors.checkpoints import Network, build
from sds3d.priors.texts import Encode

if TYPE_CHECKING:
    from tokenizers import Tokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer.json")  # the first two, or the third
# CLIP's pattern of a word; each digit is a word of its own.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def load_text_encoder(network: Network, tokenizer_folder: Path, device: torch.device) -> Encode:
    """A function from a prompt to its last hidden states [L, D]; float32, so that cached results suit any device."""
    tokenizer = read_tokenizer(tokenizer_folder)
    model = build(network, device, torch.float32)
    words, length = model.config.vocab_size, model.config.max_position_embeddings
    if tokenizer.get_vocab_size() > words:
        raise UserError(
            f"{tokenizer_folder}: expected the tokenizer of a text encoder of {words} tokens, got one of "
            f"{tokenizer.get_vocab_size()}; replace it with the model's own tokenizer"
        )
    # OpenCLIP (exact GELU) was trained with zero padding, OpenAI's CLIP with the end token as padding
    padding = 0 if model.config.hidden_act == "gelu" else token_id(tokenizer, END)
    positions = torch.arange(length, device=device)[None]  # the model's own have no values

    def encode(prompt: str) -> Tensor:
        ids = torch.tensor([tokenize(tokenizer, prompt, length, padding)], device=device)
        return model(input_ids=ids, position_ids=positions).last_hidden_state[0]

    return encode


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a special token that every CLIP tokenizer has."""
    number = tokenizer.token_to_id(token)
    assert number is not None
    return number


def tokenize(tokenizer: Tokenizer, prompt: str, length: int, padding: int) -> list[int]:
    """Exactly `length` token ids: start, the text, truncated if necessary, end, padding."""
    start, end = token_id(tokenizer, START), token_id(tokenizer, END)
    ids = [start, *tokenizer.encode(prompt, add_special_tokens=False).ids[: length - 2], end]
    return ids + [padding] * (length - len(ids))


def read_tokenizer(folder: Path) -> Tokenizer:
    """CLIP's byte-pair encoding of lower-cased text; special tokens in a prompt are encoded as plain letters."""
    check_tokenizer(folder)
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    vocabulary, merges, whole = (str(folder / name) for name in TOKENIZER_FILES)
    try:
        if not Path(vocabulary).is_file():
            tokenizer = Tokenizer.from_file(whole)
        else:
            model = models.BPE.from_file(vocabulary, merges, unk_token=END, end_of_word_suffix="</w>")
            tokenizer = Tokenizer(model)
            tokenizer.normalizer = normalizers.Sequence(
                [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
            )
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
                pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ])  # fmt: skip
    except Exception as error:  # the reader raises plain Exceptions
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder}: no tokenizer can be read ({reason}); download its files again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    for token in (START, END):
        if tokenizer.token_to_id(token) is None:
            raise UserError(f"{folder}: expected a CLIP tokenizer, got one without {token}")
    return tokenizer


def check_tokenizer(folder: Path) -> None:
    """Raises UserError unless `folder` holds a CLIP tokenizer."""
    if not has_tokenizer(folder):
        raise UserError(f"{folder}: no tokenizer; expected vocab.json and merges.txt, or tokenizer.json")


def has_tokenizer(folder: Path) -> bool:
    """Whether `folder` holds the files of a CLIP tokenizer."""
    vocabulary, merges, whole = ((folder / name).is_file() for name in TOKENIZER_FILES)
    return vocabulary and merges or whole
