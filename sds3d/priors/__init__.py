"""Frozen diffusion models that guide the optimization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sds3d.priors.kinds import kind_of

if TYPE_CHECKING:
    import torch

    from sds3d.config.schema import PriorConfig
    from sds3d.interfaces import Prior
    from sds3d.priors.weights import Found


def build_prior(cfg: PriorConfig, device: torch.device, found: Found | None = None) -> Prior:
    """The prior that `cfg` describes, on `device`; its files are checked first.

    `found` is where its weights are, if that is known.
    """
    kind = kind_of(cfg)
    return kind.load(found or kind.find("prior.path"), device)
