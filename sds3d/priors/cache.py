"""The prior in use, kept from run to run."""

from __future__ import annotations

import gc

import torch

from sds3d.config.schema import PriorConfig
from sds3d.interfaces import Prior
from sds3d.native.gc_pause import no_collection
from sds3d.priors import build_prior


class Priors:
    """Loads priors on `device`, one at a time: stages and runs that ask for the same one share it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cfg: PriorConfig | None = None
        self.prior: Prior | None = None

    def get(self, cfg: PriorConfig) -> Prior:
        """The prior that `cfg` names, loaded unless it is the one in use."""
        if self.prior is not None and cfg == self.cfg:
            return self.prior
        if self.prior is not None:  # its memory first, and that of what it was part of
            self.cfg = self.prior = None
            gc.collect()
        with no_collection():
            self.prior = build_prior(cfg, self.device)
        self.cfg = cfg
        return self.prior

    def holds(self, cfg: PriorConfig) -> bool:
        """Whether `cfg` names the prior in use."""
        return self.prior is not None and cfg == self.cfg
