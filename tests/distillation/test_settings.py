"""Options of the estimators, the number of their network calls, and a run with each of them."""

import io
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
import torch

from sds3d.cli.progress import LineProgress
from sds3d.config.checks import field_types
from sds3d.config.load import dump_config, from_mapping, load_config
from sds3d.config.schema import Config, SDEditConfig, SDIConfig, VSDConfig
from sds3d.distillation import kind_of
from sds3d.errors import UserError
from sds3d.optimization.inputs import step_generator
from sds3d.representations.gaussians.splats import Gaussians
from sds3d.runs.folder import RunFolder
from tests.helpers.estimators import CONFIGS, AnyPrior, estimate, kind
from tests.helpers.observer import optimize_alone
from tests.helpers.tiny_prior import write_tiny_prior


@pytest.mark.parametrize("cfg", CONFIGS, ids=kind)
def test_a_kind_alone_selects_an_estimator_and_its_config_round_trips(cfg, tmp_path: Path) -> None:
    form = [f"stages.0.estimator.form={cfg.form}"] if cfg.kind == "sds" else []
    made = load_config(None, [f"stages.0.estimator.kind={cfg.kind}", *form, "negative_prompt=blurry"], "a red mushroom")
    assert made.stages[0].estimator == cfg
    (tmp_path / "config.yaml").write_text(dump_config(made))
    assert load_config(tmp_path / "config.yaml", [], None) == made


def test_setting_the_kind_that_a_stage_has_keeps_its_options() -> None:
    made = load_config(None, ["stages.1.estimator.kind=sdedit"], "a red mushroom")
    assert made.stages == Config().stages and made.stages[1].estimator != SDEditConfig()


@pytest.mark.parametrize("cfg", CONFIGS, ids=kind)
def test_every_number_has_a_range(cfg) -> None:
    names = {field.name for field in fields(cfg) if type(getattr(cfg, field.name)) in (int, float)}
    for name in names:
        _, limits = get_args(field_types(type(cfg))[name])
        assert getattr(cfg, name) in limits
        with pytest.raises(UserError, match="out of range"):
            from_mapping(type(cfg), {name: 100_000})


def test_nfsd_needs_a_negative_prompt() -> None:
    with pytest.raises(UserError, match=r"stages.0.estimator.kind: nfsd needs a negative prompt"):
        load_config(None, ["stages.0.estimator.kind=nfsd"], "a red mushroom")


def test_the_epsilon_form_rejects_rescale() -> None:
    settings = ["stages.0.estimator.form=epsilon", "stages.0.estimator.rescale=0.5"]
    with pytest.raises(UserError, match=r"stages.0.estimator.rescale: 0.5, but form epsilon has no x0 to rescale; set"):
        load_config(None, settings, "a red mushroom")
    load_config(None, settings[:1], "a red mushroom")
    load_config(None, settings[1:], "a red mushroom")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_prior(tmp_path_factory.mktemp("estimators") / "prior")


@pytest.mark.parametrize("cfg", CONFIGS[1:], ids=kind)
def test_the_loop_moves_every_tensor_of_the_scene(cfg, tiny: Path, tmp_path: Path) -> None:
    little_noise = "t_min: {start: 0.15, end: 0.15}, t_max: {start: 0.25, end: 0.25}"  # fewer steps of an inversion
    estimator = f"{{kind: {cfg.kind}, form: {cfg.form}}}" if cfg.kind == "sds" else f"{{kind: {cfg.kind}}}"
    stage = f"{{name: only, steps: 4, prior_every: 2, resolution: 32, {little_noise}, estimator: {estimator}}}"
    settings = ["device=cpu", f"prior.path={tiny}", f"out={tmp_path}", f"stages=[{stage}]", "negative_prompt=mushroom"]
    made = load_config(None, [*settings, "representation.num_init=60"], "a red mushroom")
    result = optimize_alone(made, RunFolder.create(made), LineProgress(io.StringIO(), every=0))
    assert result.finished and result.step == 4
    start = Gaussians.random_ball(made.representation, step_generator(made.seed, "init", 0))
    for name, tensor in result.scene.gaussians.tensors().items():
        assert torch.isfinite(tensor).all() and not torch.equal(tensor.cpu(), start.tensors()[name])


@pytest.mark.parametrize("timestep", [1, 40, 99, 100, 101, 700, 999])
@pytest.mark.parametrize("cfg", [*CONFIGS, VSDConfig(train_steps=3), SDIConfig(inversion_steps=7)], ids=kind)
def test_predicted_network_calls_equal_the_actual_ones(cfg, timestep, condition):
    class Counting(AnyPrior):
        """A prior whose twin appends to the same list of calls."""

        def adapt(self, rank):
            twin, parameters = super().adapt(rank)
            twin.calls = self.calls
            return twin, parameters

    prior = Counting(0.5, torch.float64)
    estimate(cfg, prior, condition, timestep)
    calls = kind_of(cfg).calls(timestep, len(prior.alphas_cumprod))
    assert (calls.count, calls.texts) == (len(prior.calls), max(prior.calls))
