"""Encoded prompts, cached on disk, so that a text encoder is loaded only for new prompts and then released."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from sds3d.files import read_cached, write_cached

Encode = Callable[[str], Tensor]  # prompt -> [L, D] float32 on any device


class PromptCache:
    """Encoded prompts [L, D] on `device`."""

    def __init__(
        self, load: Callable[[], Encode], folder: Path | None, device: torch.device, dtype: torch.dtype
    ) -> None:
        """`load` returns the text encoder; `folder` caches the results of this encoder only; None: no cache."""
        self.load, self.folder, self.device, self.dtype = load, folder, device, dtype
        self.encoder: Encode | None = None
        self.known: dict[str, Tensor] = {}

    def __call__(self, prompt: str) -> Tensor:
        """The encoded prompt [L, D] in the network's dtype."""
        if prompt not in self.known:
            self.known[prompt] = self._find(prompt).to(self.device, self.dtype)
        return self.known[prompt]

    def release(self) -> None:
        """Releases the text encoder and its memory; the next new prompt loads it again."""
        self.encoder = None

    @torch.no_grad()
    def _find(self, prompt: str) -> Tensor:
        from safetensors import SafetensorError
        from safetensors.torch import load, save

        path = self.folder / f"{hashlib.sha256(prompt.encode()).hexdigest()}.safetensors" if self.folder else None
        if path:
            with suppress(OSError, SafetensorError, KeyError):  # new, damaged or of another version: encoded below
                return load(read_cached(path))["tokens"]
        if self.encoder is None:
            self.encoder = self.load()
        tokens = self.encoder(prompt).float().cpu().contiguous()
        if path:
            with suppress(OSError):  # the cache only saves time
                write_cached(path, save({"tokens": tokens}))
        return tokens
