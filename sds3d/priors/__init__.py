"""Frozen diffusion models that guide the optimisation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from sds3d.config import PocketConfig, PriorConfig

if TYPE_CHECKING:
    import torch

    from sds3d.interfaces import Prior


def build_prior(cfg: PriorConfig, device: torch.device) -> Prior:
    """The prior that `cfg` names, its files checked, on `device`."""
    from sds3d.priors.weights import verify

    match cfg:
        case PocketConfig():
            from sds3d.priors.pocket.prior import SHIPPED, PocketPrior

            folder = Path(cfg.path) if cfg.path else SHIPPED
            verify(folder)
            return PocketPrior(folder, device)
        case _:
            assert_never(cfg)
