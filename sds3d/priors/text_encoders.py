"""The text encoders of Stable Diffusion 1, 2, XL and 3: functions from a prompt and a suffix to tokens [L, D]."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sds3d.errors import UserError
from sds3d.priors.clip_tokenizer import CLIP_LENGTH, check_ids, read_tokenizer
from sds3d.priors.pretrained import load_model
from sds3d.priors.texts import Encode

T5_LENGTH = 256


def load_sd_encoder(folder: Path, dtype: torch.dtype, device: torch.device) -> Encode:
    """The encoder of Stable Diffusion 1 and 2; it returns the last hidden states [77, D]."""
    from transformers import CLIPTextModel

    read = _clip(CLIPTextModel, folder, "", dtype, device)
    return lambda prompt, suffix: read(prompt, suffix).last_hidden_state[0]


def load_sdxl_encoder(folder: Path, dtype: torch.dtype, device: torch.device, zero_empty: bool) -> Encode:
    """The encoder of Stable Diffusion XL; it returns the penultimate hidden states of both CLIPs and the pooled vector.

    The result is [77 + 1, D]. `zero_empty`: encode the empty prompt as zeros, as in the model's training.
    """
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    first = _clip(CLIPTextModel, folder, "", dtype, device)
    second = _clip(CLIPTextModelWithProjection, folder, "_2", dtype, device)

    def encode(prompt: str, suffix: str) -> Tensor:
        outputs = first(prompt, suffix), second(prompt, suffix)
        tokens = torch.cat([output.hidden_states[-2][0] for output in outputs], -1)
        row = join_pooled(tokens, outputs[1].text_embeds[0])
        return torch.zeros_like(row) if zero_empty and not prompt + suffix else row

    return encode


def load_sd3_encoder(folder: Path, dtype: torch.dtype, device: torch.device, width: int) -> Encode:
    """The encoder of Stable Diffusion 3; it returns the tokens of both CLIPs, then of T5, then the pooled vectors.

    The result is [77 + 256 + 1, width]. Without `folder`/text_encoder_3 the T5 tokens are zeros, as at times
    in its training.
    """
    from transformers import CLIPTextModelWithProjection

    clips = [_clip(CLIPTextModelWithProjection, folder, suffix, dtype, device) for suffix in ("", "_2")]
    read_t5 = _t5(folder, dtype, device)

    def encode(prompt: str, suffix: str) -> Tensor:
        outputs = [read(prompt, suffix) for read in clips]
        clip = torch.cat([output.hidden_states[-2][0] for output in outputs], -1)
        t5 = read_t5(prompt, suffix).last_hidden_state[0] if read_t5 else clip.new_zeros(T5_LENGTH, width)
        tokens = torch.cat([F.pad(clip, (0, width - clip.shape[-1])), t5])
        return join_pooled(tokens, torch.cat([output.text_embeds[0] for output in outputs]))

    return encode


def join_pooled(tokens: Tensor, pooled: Tensor) -> Tensor:
    """[L + 1, D]: `tokens` [L, D] and `pooled` [P], P <= D, as an additional token, zero-padded to D."""
    return torch.cat([tokens, F.pad(pooled, (0, tokens.shape[-1] - len(pooled)))[None]])


def split_pooled(texts: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Tokens [B, L, D] and pooled vectors [B, size] of `texts` [B, L + 1, D], the inverse of `join_pooled`."""
    return texts[:, :-1], texts[:, -1, :size]


def padded_ids(tokenizer: Any, prompt: str, suffix: str, length: int) -> list[int]:
    """Exactly `length` token ids of `prompt` followed by `suffix`, by a tokenizer that adds one token at the end.

    If the text is too long, the end of `prompt` is dropped and `suffix` stays.
    """
    options = {"padding": "max_length", "max_length": length, "truncation": True}
    ids = tokenizer(prompt + suffix, **options).input_ids
    if suffix and len(tokenizer(prompt + suffix, verbose=False).input_ids) > length:
        special = tokenizer.num_special_tokens_to_add()
        kept = tokenizer(suffix, add_special_tokens=False).input_ids
        text = tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids[: length - special - len(kept)]
        ids = [*ids[: special - 1], *text, *kept, ids[-1]]
        ids += [tokenizer.pad_token_id] * (length - len(ids))  # apart, the two can have fewer tokens than together
    return ids


def _clip(cls: type, folder: Path, number: str, dtype: torch.dtype, device: torch.device) -> Callable[[str, str], Any]:
    from transformers import CLIPTokenizer

    read_tokenizer(folder / f"tokenizer{number}")  # checks its merges, which transformers does not
    return _reader(CLIPTokenizer, cls, folder, number, CLIP_LENGTH, dtype, device)


def _t5(folder: Path, dtype: torch.dtype, device: torch.device) -> Callable[[str, str], Any] | None:
    if not (folder / "text_encoder_3").is_dir():
        warnings.warn(
            f"{folder / 'text_encoder_3'}: missing; only the two CLIP encoders read the prompts, and they follow "
            "long prompts less closely",
            stacklevel=2,
        )
        return None
    from transformers import T5EncoderModel, T5TokenizerFast

    return _reader(T5TokenizerFast, T5EncoderModel, folder, "_3", T5_LENGTH, dtype, device)


def _reader(
    tokenizer_cls: Any, cls: Any, folder: Path, number: str, length: int, dtype: torch.dtype, device: torch.device
) -> Callable[[str, str], Any]:
    """A function from a prompt and a suffix, as exactly `length` tokens, to the output of the text encoder."""
    tokenizer = _load_tokenizer(tokenizer_cls, folder / f"tokenizer{number}", length)
    model = load_model(cls, folder / f"text_encoder{number}", dtype).to(device)
    check_ids(folder / f"tokenizer{number}", tokenizer.get_vocab(), model.config.vocab_size)

    def read(prompt: str, suffix: str) -> Any:
        ids = padded_ids(tokenizer, prompt, suffix, length)
        return model(torch.tensor([ids], device=device), output_hidden_states=True)

    return read


def _load_tokenizer(cls: Any, folder: Path, length: int) -> Any:
    """The tokenizer in `folder`; UserError unless it pads and truncates on the right to `length` tokens."""
    try:
        tokenizer = cls.from_pretrained(str(folder), local_files_only=True)
        count = len(padded_ids(tokenizer, "", "", length))
        sides = tokenizer.padding_side, tokenizer.truncation_side
    except Exception as error:  # a damaged file can make the library raise anything
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{folder}: cannot be loaded as a tokenizer ({reason}); download it again") from error
    if count != length or sides != ("right", "right"):
        raise UserError(
            f"{folder}: expected a tokenizer that pads and truncates on the right to {length} tokens, got {count} "
            f"tokens, padded and truncated on the {' and the '.join(map(str, sides))[:60]}; download it again"
        )
    return tokenizer
