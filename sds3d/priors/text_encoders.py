"""The text encoders of Stable Diffusion 1, 2, XL and 3: functions from a prompt to its tokens [L, D]."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sds3d.errors import UserError
from sds3d.priors.pretrained import load_model
from sds3d.priors.texts import Encode

CLIP_LENGTH = 77  # tokens, begin and end included
T5_LENGTH = 256


def load_sd_encoder(folder: Path, dtype: torch.dtype, device: torch.device) -> Encode:
    """The encoder of Stable Diffusion 1 and 2; it returns the last hidden states [77, D]."""
    from transformers import CLIPTextModel

    read = _clip(CLIPTextModel, folder, "", dtype, device)
    return lambda prompt: read(prompt).last_hidden_state[0]


def load_sdxl_encoder(folder: Path, dtype: torch.dtype, device: torch.device, zero_empty: bool) -> Encode:
    """The encoder of Stable Diffusion XL; it returns the penultimate hidden states of both CLIPs and the pooled vector.

    The result is [77 + 1, D]. `zero_empty`: encode the empty prompt as zeros, as in the model's training.
    """
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    first = _clip(CLIPTextModel, folder, "", dtype, device)
    second = _clip(CLIPTextModelWithProjection, folder, "_2", dtype, device)

    def encode(prompt: str) -> Tensor:
        outputs = first(prompt), second(prompt)
        tokens = torch.cat([output.hidden_states[-2][0] for output in outputs], -1)
        row = join_pooled(tokens, outputs[1].text_embeds[0])
        return torch.zeros_like(row) if zero_empty and not prompt else row

    return encode


def load_sd3_encoder(folder: Path, dtype: torch.dtype, device: torch.device, width: int) -> Encode:
    """The encoder of Stable Diffusion 3; it returns the tokens of both CLIPs, then of T5, then the pooled vectors.

    The result is [77 + 256 + 1, width]. Without `folder`/text_encoder_3 the T5 tokens are zeros, as at times
    in its training.
    """
    from transformers import CLIPTextModelWithProjection

    clips = [_clip(CLIPTextModelWithProjection, folder, suffix, dtype, device) for suffix in ("", "_2")]
    read_t5 = _t5(folder, dtype, device)

    def encode(prompt: str) -> Tensor:
        outputs = [read(prompt) for read in clips]
        clip = torch.cat([output.hidden_states[-2][0] for output in outputs], -1)
        t5 = read_t5(prompt).last_hidden_state[0] if read_t5 else clip.new_zeros(T5_LENGTH, width)
        tokens = torch.cat([F.pad(clip, (0, width - clip.shape[-1])), t5])
        return join_pooled(tokens, torch.cat([output.text_embeds[0] for output in outputs]))

    return encode


def join_pooled(tokens: Tensor, pooled: Tensor) -> Tensor:
    """[L + 1, D]: `tokens` [L, D] and `pooled` [P], P <= D, as an additional token, zero-padded to D."""
    return torch.cat([tokens, F.pad(pooled, (0, tokens.shape[-1] - len(pooled)))[None]])


def split_pooled(texts: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Tokens [B, L, D] and pooled vectors [B, size] of `texts` [B, L + 1, D], the inverse of `join_pooled`."""
    return texts[:, :-1], texts[:, -1, :size]


def _clip(cls: type, folder: Path, suffix: str, dtype: torch.dtype, device: torch.device) -> Callable[[str], Any]:
    from transformers import CLIPTokenizer

    return _reader(CLIPTokenizer, cls, folder, suffix, CLIP_LENGTH, dtype, device)


def _t5(folder: Path, dtype: torch.dtype, device: torch.device) -> Callable[[str], Any] | None:
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
    tokenizer_cls: Any, cls: Any, folder: Path, suffix: str, length: int, dtype: torch.dtype, device: torch.device
) -> Callable[[str], Any]:
    """A function from a prompt, padded or truncated to `length` tokens, to the output of the text encoder."""
    path = folder / f"tokenizer{suffix}"
    try:
        tokenizer = tokenizer_cls.from_pretrained(str(path), local_files_only=True)
    except Exception as error:  # a damaged file can make the library raise anything
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: cannot be loaded as a tokenizer ({reason}); download it again") from error
    model = load_model(cls, folder / f"text_encoder{suffix}", dtype).to(device)

    def read(prompt: str) -> Any:
        count = len(tokenizer(prompt).input_ids)
        if count > length:
            warnings.warn(
                f"the prompt has {count} tokens, of which text_encoder{suffix} reads {length}: the end, "
                "which names the view, is ignored; shorten the prompt",
                stacklevel=2,
            )
        tokens = tokenizer(prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return model(tokens.input_ids.to(device), output_hidden_states=True)

    return read
