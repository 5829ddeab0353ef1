"""Random inputs of a step."""

import torch

from sds3d.config.ramp import Ramp
from sds3d.config.schema import StageConfig
from sds3d.optimization.inputs import sample_timesteps
from tests.helpers.gaussian_prior import GaussianPrior


def test_one_timestep_per_orbit_between_the_ramps():
    stage = StageConfig(num_orbits=6, t_min=Ramp(0.8, 0.1), t_max=Ramp(0.9, 0.3, 0.5))
    for progress, low, high in ((0.0, 0.8, 0.9), (0.5, 0.45, 0.3), (1.0, 0.1, 0.3)):
        timesteps = sample_timesteps(stage, GaussianPrior(0), progress, torch.Generator().manual_seed(3)).reshape(6, 4)
        assert (timesteps == timesteps[:, :1]).all() and len(timesteps[:, 0].unique()) > 1
        low, high = sorted((low, high))
        assert timesteps.min() >= int(1000 * low) and timesteps.max() <= 1000 * high
