"""Keeps the loaded prior between stages and runs."""

from __future__ import annotations

import gc
from collections.abc import Mapping

import torch

from sds3d.config.schema import PriorConfig
from sds3d.interfaces import Prior
from sds3d.native.gc_pause import no_collection
from sds3d.priors import build_prior
from sds3d.priors.weights import Found


class Priors:
    """Loads priors on `device`, one at a time; stages and runs with the same config share the prior."""

    def __init__(self, device: torch.device, found: Mapping[PriorConfig, Found] | None = None) -> None:
        """`found` are the weights of priors that preflight has found already."""
        self.device, self.found = device, dict(found or {})
        self.cfg: PriorConfig | None = None
        self.prior: Prior | None = None

    def get(self, cfg: PriorConfig) -> Prior:
        """The prior that `cfg` describes, loaded unless it is loaded already."""
        if self.prior is not None and cfg == self.cfg:
            return self.prior
        if self.prior is not None:  # free its memory first, including reference cycles
            self.cfg = self.prior = None
            gc.collect()
        with no_collection():
            self.prior = build_prior(cfg, self.device, self.found.get(cfg))
        self.cfg = cfg
        return self.prior

    def holds(self, cfg: PriorConfig) -> bool:
        """Whether the loaded prior is that of `cfg`."""
        return self.prior is not None and cfg == self.cfg
