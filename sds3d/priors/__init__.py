"""Frozen diffusion models that guide the optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from sds3d.config.schema import MVDreamConfig, PocketConfig, PriorConfig, StableDiffusionConfig

if TYPE_CHECKING:
    import torch

    from sds3d.interfaces import Prior


def build_prior(cfg: PriorConfig, device: torch.device) -> Prior:
    """The prior that `cfg` names, its files checked, on `device`."""
    match cfg:
        case PocketConfig():
            from sds3d.priors.pocket.prior import load_pocket

            return load_pocket(cfg, device)
        case MVDreamConfig():
            from sds3d.priors.mvdream.prior import load_mvdream

            return load_mvdream(cfg, device)
        case StableDiffusionConfig():
            from sds3d.priors.stable_diffusion import load_stable_diffusion

            return load_stable_diffusion(cfg, device)
        case _:
            assert_never(cfg)
