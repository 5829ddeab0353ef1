"""Estimators of the score-distillation gradient, one per file."""

from __future__ import annotations

from functools import partial
from typing import assert_never

from sds3d.config.schema import (
    CSDConfig,
    EstimatorConfig,
    ISMConfig,
    NFSDConfig,
    SDEditConfig,
    SDIConfig,
    SDSConfig,
    VSDConfig,
)
from sds3d.distillation.csd import csd
from sds3d.distillation.ism import ism
from sds3d.distillation.nfsd import nfsd
from sds3d.distillation.sdedit import sdedit
from sds3d.distillation.sdi import sdi
from sds3d.distillation.sds import sds
from sds3d.distillation.vsd import VSD
from sds3d.interfaces import Estimator


def build_estimator(cfg: EstimatorConfig) -> Estimator:
    """The estimator that `cfg` describes: a function that returns the gradient [C, Z, h, w]; VSD is also Stateful."""
    match cfg:
        case SDSConfig():
            return partial(sds, form=cfg.form, guidance_scale=cfg.guidance_scale, rescale=cfg.rescale)
        case CSDConfig():
            return partial(csd, guidance_scale=cfg.guidance_scale)
        case NFSDConfig():
            return partial(nfsd, guidance_scale=cfg.guidance_scale, t_switch=cfg.t_switch)
        case ISMConfig():
            return partial(ism, guidance_scale=cfg.guidance_scale, delta_s=cfg.delta_s, delta_t=cfg.delta_t)
        case SDIConfig():
            return partial(
                sdi,
                guidance_scale=cfg.guidance_scale,
                inversion_guidance_scale=cfg.inversion_guidance_scale,
                inversion_steps=cfg.inversion_steps,
                eta=cfg.eta,
            )
        case SDEditConfig():
            return partial(sdedit, guidance_scale=cfg.guidance_scale, steps=cfg.steps)
        case VSDConfig():
            return VSD(cfg)
        case _:
            assert_never(cfg)
