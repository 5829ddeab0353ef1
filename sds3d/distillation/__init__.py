"""Estimators of the score-distillation gradient, one a file."""

from __future__ import annotations

from functools import partial
from typing import assert_never

from sds3d.config import SDSConfig
from sds3d.distillation.sds import sds
from sds3d.interfaces import Estimator


def build_estimator(cfg: SDSConfig) -> Estimator:
    """The estimator that `cfg` names."""
    match cfg:
        case SDSConfig():
            return partial(sds, guidance_scale=cfg.guidance_scale, rescale=cfg.rescale, clip=cfg.clip)
        case _:
            assert_never(cfg)
