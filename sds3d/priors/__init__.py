"""Frozen diffusion models that guide the optimization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sds3d.priors.kinds import kind_of

if TYPE_CHECKING:
    import torch

    from sds3d.config.schema import PriorConfig
    from sds3d.interfaces import Prior


def build_prior(cfg: PriorConfig, device: torch.device) -> Prior:
    """The prior that `cfg` describes, on `device`; its files are checked first."""
    kind = kind_of(cfg)
    return kind.load(kind.find("prior.path"), device)
