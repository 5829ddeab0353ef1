"""How often an estimator calls the network of a prior, known without calling it."""

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
    """The calls of the network for one gradient."""

    count: int
    texts: int  # of the largest of them
    learns: bool = False  # whether some of them have a backward pass


def network_calls(cfg: EstimatorConfig, timestep: int, num_timesteps: int) -> Calls:
    """The calls for a gradient at `timestep` of `num_timesteps`, the noisiest of its orbits."""
    match cfg:
        case SDSConfig() | CSDConfig():
            return Calls(1, texts=2)
        case NFSDConfig():
            return Calls(1, texts=3)
        case ISMConfig():
            previous = max(0, timestep - max(1, round(cfg.delta_t * num_timesteps)))
            inversion = math.ceil(previous / max(1, round(cfg.delta_s * num_timesteps)))
            return Calls(inversion + 2, texts=2)  # and one at either end of the interval
        case SDIConfig():
            inversion = math.ceil(timestep / math.ceil(num_timesteps / cfg.inversion_steps))
            return Calls(inversion + 1, texts=2)
        case SDEditConfig():
            return Calls(cfg.steps, texts=2)
        case VSDConfig():
            return Calls(2 + cfg.train_steps, texts=2, learns=True)  # of the prior, of its twin, of the twin to learn
        case _:
            assert_never(cfg)
