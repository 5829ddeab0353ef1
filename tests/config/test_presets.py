"""The presets do what their comments claim."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sds3d.config.load import load_config
from sds3d.optimization.inputs import Block, blocks, sample_inputs

FIRST = 10_000  # steps of the published recipe


@pytest.mark.parametrize("name", ["mvdream-gaussians", "mvdream-sd-texture"])
def test_the_recipe_is_that_of_mvdreams_authors(name: str) -> None:
    """MVDream-threestudio, configs/mvdream-sd21.yaml: ramps over 8,000 of 10,000 steps, 5,000 of them at 64 x 64."""
    cfg = load_config(Path(name), [], "x")
    assert sum(stage.steps for stage in cfg.stages[:3]) == FIRST
    for block in blocks(cfg.stages[:3], 0):
        stage, ramp = cfg.stages[block.stage_index], min(block.step / 8000, 1.0)
        assert stage.t_min.at(block.progress) == pytest.approx(0.98 + (0.02 - 0.98) * ramp, abs=1e-9)
        assert stage.t_max.at(block.progress) == pytest.approx(0.98 + (0.50 - 0.98) * ramp, abs=1e-9)
        assert (stage.resolution, stage.num_orbits) == ((64, 2) if block.step < 5000 else (256, 1))
    for stage in cfg.stages[:3]:
        assert (stage.estimator.guidance_scale, stage.estimator.rescale) == (50.0, 0.5)
        cameras = stage.cameras
        assert cameras.elevation_deg == (0, 30) and cameras.fov_deg == (15, 60) and cameras.distance == (0.8, 1.0)
        assert cameras.zoom and cameras.elevations == "mvdream"


def test_the_texture_preset_has_the_shape_stages_of_the_other() -> None:
    plain, textured = (load_config(Path(name), [], "x") for name in ("mvdream-gaussians", "mvdream-sd-texture"))
    assert textured.stages[:-1] == plain.stages and textured.representation == plain.representation
    assert textured.stages[-1].trains == "colors"


def test_a_stage_samples_the_elevations_of_its_config() -> None:
    cfg = load_config(Path("mvdream-gaussians"), ["stages.0.num_orbits=64"], "x")
    prior = SimpleNamespace(num_views=4, alphas_cumprod=torch.linspace(1, 0, 1000))
    heights = []
    for elevations in ("uniform", "mvdream"):
        stage = replace(cfg.stages[0], cameras=replace(cfg.stages[0].cameras, elevations=elevations))
        cameras = sample_inputs(0, stage, Block(0, 0, 2, 0.0), prior, torch.device("cpu")).cameras
        heights.append(torch.nn.functional.normalize(cameras.positions, dim=-1)[:, 2])
    lower = heights[1] < heights[0] - 1e-6
    assert (heights[1] <= heights[0] + 1e-6).all() and 0.3 < lower.float().mean() < 0.7  # asin(x / 90) < x
