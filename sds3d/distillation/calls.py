"""The number of network calls of an estimator, computed without calling the network."""

from __future__ import annotations

import math
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Calls:
    """The network calls for one gradient."""

    count: int
    texts: int  # prompts in the largest call
    learns: bool = False  # whether some calls have a backward pass


def network_calls(cfg: EstimatorConfig, timestep: int, num_timesteps: int) -> Calls:
    """The network calls for a gradient; `timestep`, of `num_timesteps`, is that of the noisiest orbit in the batch."""
    match cfg:
        case SDSConfig() | CSDConfig():
            return Calls(1, texts=2)
        case NFSDConfig():
            return Calls(1, texts=3)
        case ISMConfig():
            previous = max(0, timestep - max(1, round(cfg.delta_t * num_timesteps)))
            inversion = math.ceil(previous / max(1, round(cfg.delta_s * num_timesteps)))
            return Calls(inversion + 2, texts=2)  # plus one call at each end of the interval
        case SDIConfig():
            inversion = math.ceil(timestep / math.ceil(num_timesteps / cfg.inversion_steps))
            return Calls(inversion + 1, texts=2)
        case SDEditConfig():
            return Calls(cfg.steps, texts=2)
        case VSDConfig():
            return Calls(2 + cfg.train_steps, texts=2, learns=True)  # the prior, its twin, and the training of the twin
        case _:
            assert_never(cfg)
