"""Frozen networks compiled by torch, once for a machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from sds3d.files import cache_folder


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, compiled at its first call; what was compiled is kept on disk for the next process.

    In the user's cache, or where $TORCHINDUCTOR_CACHE_DIR says: torch's own default is a folder that a restart clears.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
    import torch

    return torch.compile(function, dynamic=False, fullgraph=True)
