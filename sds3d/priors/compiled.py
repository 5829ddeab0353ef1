"""Frozen networks compiled by torch, once per machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from sds3d.files import cache_folder


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, compiled at its first call; the compiled code is cached on disk for later processes.

    The cache is in the user's cache folder or in $TORCHINDUCTOR_CACHE_DIR; torch's default does not survive a reboot.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
    import torch

    return torch.compile(function, dynamic=False, fullgraph=True)
