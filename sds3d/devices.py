"""Which device a run uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sds3d.errors import UserError

if TYPE_CHECKING:
    import torch


def resolve_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The torch device of a config's `device`; auto means CUDA where there is one."""
    import torch

    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        why = "this torch was built without CUDA" if torch.version.cuda is None else "torch finds no usable GPU"
        raise UserError(f"device=cuda: {why}; use device=cpu, or see `sds3d doctor`")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
