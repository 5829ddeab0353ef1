"""Checkpoints with the right checksums and the content of another version: passed over, or refused in one line."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from sds3d.config.schema import CheckpointConfig, Config, GaussiansConfig, PocketConfig, StageConfig, VSDConfig
from sds3d.distillation.vsd import VSD
from sds3d.errors import UserError
from sds3d.optimization.loop import Attempt
from sds3d.priors.cache import Priors
from sds3d.runs.folder import RunFolder
from tests.helpers.observer import RecordingObserver, optimize_alone
from tests.helpers.runs import replace_tensors, reseal
from tests.helpers.tiny_prior import write_tiny_prior


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A run with checkpoints of the steps 2 and 4."""
    folder = tmp_path_factory.mktemp("foreign")
    cfg = Config(
        prompt="a red mushroom", device="cpu", out=str(folder / "outputs"),
        prior=PocketConfig(path=str(write_tiny_prior(folder / "prior"))),
        representation=GaussiansConfig(num_init=60, max_gaussians=60),
        stages=(StageConfig(steps=4, prior_every=2, resolution=32),),
        checkpoint=CheckpointConfig(every_steps=2, every_seconds=1e9),
    )  # fmt: skip
    run = RunFolder.create(cfg)
    assert optimize_alone(cfg, run, RecordingObserver()).finished
    return cfg, run.path


@pytest.fixture
def run(made: tuple[Config, Path], tmp_path: Path) -> RunFolder:
    cfg, path = made
    return RunFolder(Path(shutil.copytree(path, tmp_path / "run")), cfg)


def attempt(made: tuple[Config, Path], run: RunFolder) -> Attempt:
    return Attempt(made[0], run, Priors(torch.device("cpu")), None)


def test_the_newest_is_taken_where_nothing_is_foreign(made, run: RunFolder) -> None:
    reseal(run.checkpoints.path(4), lambda head: None)
    assert attempt(made, run).step == 4


STATES = {
    "unknown counts": {"guard": {"skipped": 0, "patience": 3}},
    "counts in a list": {"guard": [0, 0, 0]},
    "no counts": {"guard": None},
    "counts in words": {"guard": {"skipped": "none"}},
    "seconds in words": {"seconds": {"shape": "3"}},
    "seconds in a list": {"seconds": [1.0]},
    "seconds that are no number": {"seconds": {"shape": float("nan")}},
    "seconds beyond floats": {"seconds": {"shape": 10**400}},
    "skipped in a text": {"skipped": "none"},
    "stage in a list": {"stage": ["shape"]},
    "threads in words": {"threads": "2"},
    "no thread": {"threads": 0},
    "many threads": {"threads": 10**30},
}


@pytest.mark.parametrize("values", STATES.values(), ids=STATES.keys())
def test_a_foreign_state_is_named_and_the_one_before_is_taken(values: dict, made, run: RunFolder) -> None:
    reseal(run.checkpoints.path(4), lambda head: head["state"].update(values))
    found = attempt(made, run)
    assert found.step == 2
    assert any("step-000004" in note and "going back to the one before" in note for note in found.notes)


def renamed(tensors: dict[str, Tensor]) -> None:
    tensors["scene.positions"] = tensors.pop("scene.means")


def cut(*names: str) -> Callable[[dict[str, Tensor]], None]:
    return lambda tensors: tensors.update({name: tensors[name][1:].clone() for name in names})


TENSORS = {
    "none": lambda tensors: tensors.clear(),
    "another name": renamed,
    "another type": lambda tensors: tensors.update({"scene.means": tensors["scene.means"].double()}),
    "another width": lambda tensors: tensors.update({"scene.quats": tensors["scene.means"].clone()}),
    "another number of dimensions": lambda tensors: tensors.update({"scene.logit_opacities": torch.zeros(60, 1)}),
    "fewer means than quats": cut("scene.means"),
    "fewer statistics than splats": cut("scene.densify.counts"),
    "fewer moments than splats": cut("adam.means.exp_avg"),
    "moments that would be repeated": lambda tensors: tensors.update({"adam.means.exp_avg": torch.zeros(1, 3)}),
    "no moments": lambda tensors: tensors.pop("adam.quats.exp_avg_sq"),
}


@pytest.mark.parametrize("change", TENSORS.values(), ids=TENSORS.keys())
def test_foreign_tensors_are_refused_in_one_line(change: Callable, made, run: RunFolder) -> None:
    path = run.checkpoints.path(4)
    tensors = load((path / "tensors.safetensors").read_bytes())
    change(tensors)
    replace_tensors(path, save(tensors))
    with pytest.raises(UserError, match=f"{path} is of another version: .*; delete it to go on from the one before"):
        attempt(made, run)
    shutil.rmtree(path)
    assert attempt(made, run).step == 2


def test_the_number_of_splats_may_differ(made, run: RunFolder) -> None:
    path = run.checkpoints.path(4)
    tensors = load((path / "tensors.safetensors").read_bytes())
    cut(*(name for name, x in tensors.items() if x.ndim))(tensors)
    replace_tensors(path, save(tensors))
    assert attempt(made, run).scene.size() == {"gaussians": 59}


def test_a_twin_of_another_shape_is_refused() -> None:
    estimator = VSD(VSDConfig())
    estimator.twin, estimator.saved = object(), {}  # as after the first call
    estimator.tensors = lambda: {"0.value": torch.zeros(2, 3)}
    with pytest.raises(UserError, match="the checkpoint's twin has other tensors; delete the newest checkpoint"):
        estimator.restore({"0.value": torch.zeros(1, 3)})
