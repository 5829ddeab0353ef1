"""Peak memory of a computation, also without running it: torch's meta device has shapes and no data."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """Inside this block, the bytes of all tensors made in it and still needed: `live` now, `peak` at most.

    Memory that an operation frees before it returns, such as a convolution's workspace, is not counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()  # storages that are counted, or were there before

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for tensor in _tensors((args, kwargs)):  # a view of a weight is no new memory
            self._meet(tensor, counted=False)
        result = func(*args, **kwargs)
        for tensor in _tensors(result):
            self._meet(tensor, counted=True)
        return result

    def _meet(self, tensor: Tensor, counted: bool) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes() if counted else 0
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


@contextmanager
def fused_attention() -> Iterator[None]:
    """Attention as a GPU computes it, whose scores are never in memory; on the meta device torch would count them.

    The function is replaced for all threads: torch's context managers end before the backward pass, which
    recomputes checkpointed activations.
    """
    before = F.scaled_dot_product_attention
    F.scaled_dot_product_attention = _attend
    try:
        yield
    finally:
        F.scaled_dot_product_attention = before


def _attend(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    """The result [B, heads, L, D], whose data is not computed; no option changes the memory that is needed."""
    return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
