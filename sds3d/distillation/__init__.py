"""Estimators of the score-distillation gradient, one per file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from sds3d.distillation.calls import Calls
from sds3d.distillation.csd import csd
from sds3d.distillation.ism import ism, ism_calls
from sds3d.distillation.nfsd import nfsd
from sds3d.distillation.sdedit import sdedit
from sds3d.distillation.sdi import sdi, sdi_calls
from sds3d.distillation.sds import sds
from sds3d.distillation.vsd import VSD
from sds3d.interfaces import Estimator


@dataclass(frozen=True)
class EstimatorKind:
    """A configured estimator and its properties that are known without calling it."""

    estimator: Estimator  # returns the gradient [C, Z, h, w]; one that learns is Stateful
    calls: Callable[[int, int], Calls]  # (timestep, number of timesteps) -> network calls for one gradient
    recordable: bool  # whether a CUDA graph can hold it: its launches depend only on shapes


def kind_of(cfg: EstimatorConfig) -> EstimatorKind:
    """The estimator that `cfg` describes; each call returns a new one."""
    match cfg:
        case SDSConfig():
            estimator = partial(sds, form=cfg.form, guidance_scale=cfg.guidance_scale, rescale=cfg.rescale)
            return EstimatorKind(estimator, _always(Calls(1, texts=2)), recordable=True)
        case CSDConfig():
            estimator = partial(csd, guidance_scale=cfg.guidance_scale)
            return EstimatorKind(estimator, _always(Calls(1, texts=2)), recordable=True)
        case NFSDConfig():
            estimator = partial(nfsd, guidance_scale=cfg.guidance_scale, t_switch=cfg.t_switch)
            return EstimatorKind(estimator, _always(Calls(1, texts=3)), recordable=True)
        case ISMConfig():  # not recordable: the number of inversion steps depends on the timesteps
            estimator = partial(ism, guidance_scale=cfg.guidance_scale, delta_s=cfg.delta_s, delta_t=cfg.delta_t)
            return EstimatorKind(estimator, partial(ism_calls, cfg.delta_s, cfg.delta_t), recordable=False)
        case SDIConfig():  # not recordable for the same reason
            estimator = partial(
                sdi,
                guidance_scale=cfg.guidance_scale,
                inversion_guidance_scale=cfg.inversion_guidance_scale,
                inversion_steps=cfg.inversion_steps,
                eta=cfg.eta,
            )
            return EstimatorKind(estimator, partial(sdi_calls, cfg.inversion_steps), recordable=False)
        case SDEditConfig():
            estimator = partial(sdedit, guidance_scale=cfg.guidance_scale, steps=cfg.steps)
            return EstimatorKind(estimator, _always(Calls(cfg.steps, texts=2)), recordable=True)
        case VSDConfig():  # calls the prior and its twin, then trains the twin
            calls = Calls(2 + cfg.train_steps, texts=2, learns=True)
            return EstimatorKind(VSD(cfg), _always(calls), recordable=False)
        case _:
            assert_never(cfg)


def build_estimator(cfg: EstimatorConfig) -> Estimator:
    """The estimator that `cfg` describes; each call returns a new one."""
    return kind_of(cfg).estimator


def _always(calls: Calls) -> Callable[[int, int], Calls]:
    """The same calls at every timestep."""
    return lambda timestep, num_timesteps: calls
