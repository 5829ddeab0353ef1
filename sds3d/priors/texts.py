"""Encoded prompts, cached on disk, so that a text encoder is loaded only for new prompts and then released."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from sds3d.files import read_cached, write_cached

# (prompt, suffix) -> [L, D] float32 on any device; if both are too long, the end of the prompt is dropped
Encode = Callable[[str, str], Tensor]


class PromptCache:
    """Encoded prompts [L, D] on `device`."""

    def __init__(
        self, load: Callable[[], Encode], folder: Path | None, device: torch.device, dtype: torch.dtype
    ) -> None:
        """`load` returns the text encoder; `folder` caches the results of this encoder only; None: no cache."""
        self.load, self.folder, self.device, self.dtype = load, folder, device, dtype
        self.encoder: Encode | None = None
        self.known: dict[tuple[str, str], Tensor] = {}

    def __call__(self, prompt: str, suffix: str = "") -> Tensor:
        """`prompt` followed by `suffix`, encoded, [L, D] in the network's dtype."""
        key = prompt, suffix
        if key not in self.known:
            self.known[key] = self._find(prompt, suffix).to(self.device, self.dtype)
        return self.known[key]

    def release(self) -> None:
        """Releases the text encoder and its memory; the next new prompt loads it again."""
        self.encoder = None

    @torch.no_grad()
    def _find(self, prompt: str, suffix: str) -> Tensor:
        from safetensors import SafetensorError
        from safetensors.torch import load, save

        name = hashlib.sha256(json.dumps([prompt, suffix]).encode()).hexdigest()
        path = self.folder / f"{name}.safetensors" if self.folder else None
        if path:
            with suppress(OSError, SafetensorError, KeyError):  # new, damaged or of another version: encoded below
                return load(read_cached(path))["tokens"]
        if self.encoder is None:
            self.encoder = self.load()
        tokens = self.encoder(prompt, suffix).float().cpu().contiguous()
        if path:
            with suppress(OSError):  # the cache only saves time
                write_cached(path, save({"tokens": tokens}))
        return tokens
