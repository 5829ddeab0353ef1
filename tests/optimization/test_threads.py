"""Results depend on the number of PyTorch's threads, so a run keeps the number that it began with."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sds3d.config.schema import CheckpointConfig, Config, GaussiansConfig, PocketConfig, StageConfig
from sds3d.optimization.loop import Optimized
from sds3d.pipeline import make_asset
from sds3d.priors.cache import Priors
from sds3d.priors.pocket.prior import PocketPrior
from sds3d.runs.folder import RunFolder
from tests.helpers.observer import RecordingObserver, never, optimize_alone
from tests.helpers.tiny_prior import write_tiny_prior


@pytest.fixture(scope="module")
def cfg(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = write_tiny_prior(tmp_path_factory.mktemp("threads") / "prior")
    return Config(
        prompt="a red mushroom", device="cpu", prior=PocketConfig(path=str(folder)),
        representation=GaussiansConfig(num_init=60, max_gaussians=90, densify_every=3),
        stages=(StageConfig(steps=8, prior_every=2, resolution=32),),
        checkpoint=CheckpointConfig(every_steps=2, every_seconds=1e9),
    )  # fmt: skip


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of threads in each call of the prior."""
    numbers: list[int] = []
    original = PocketPrior.predict_noise

    def predict_noise(self, *args):
        numbers.append(torch.get_num_threads())
        return original(self, *args)

    monkeypatch.setattr(PocketPrior, "predict_noise", predict_noise)
    return numbers


def after(blocks: int):
    """For a run that is stopped after so many blocks."""
    stops: Iterator[bool] = iter([False] * (blocks - 1) + [True])
    return lambda: next(stops)


def equal(one: Optimized, other: Optimized) -> bool:
    ours, others = one.scene.tensors(), other.scene.tensors()
    return ours.keys() == others.keys() and all(torch.equal(ours[name], others[name]) for name in ours)


@pytest.mark.parametrize("number", [1, 2])
def test_a_resumed_run_has_the_threads_that_it_began_with(cfg, tmp_path: Path, used: list[int], number: int) -> None:
    torch.set_num_threads(number)
    whole = optimize_alone(cfg, RunFolder.create(replace(cfg, out=str(tmp_path / "whole"))), RecordingObserver())
    run = RunFolder.create(replace(cfg, out=str(tmp_path / "stopped")))
    first, second = RecordingObserver(), RecordingObserver()
    assert not optimize_alone(cfg, run, first, after(2)).finished
    torch.set_num_threads(number + 1)
    resumed = optimize_alone(cfg, run, second)
    assert resumed.finished and equal(resumed, whole)
    assert used == [number] * 8
    assert not first.notes
    assert second.notes == [
        f"using {number} CPU threads, not {number + 1}: the run began with {number}, and its results depend on it"
    ]


def test_a_resumed_run_does_not_change_the_threads_of_the_next(cfg, tmp_path: Path, used, monkeypatch) -> None:
    monkeypatch.setattr("sds3d.pipeline.finish", lambda *args, **options: {"cpu_threads": torch.get_num_threads()})
    run, priors = RunFolder.create(replace(cfg, out=str(tmp_path))), Priors(torch.device("cpu"))
    torch.set_num_threads(2)
    assert make_asset(cfg, run, priors, RecordingObserver(), after(2)) is None
    torch.set_num_threads(3)
    assert make_asset(cfg, run, priors, RecordingObserver(), never) == {"cpu_threads": 2}
    assert set(used) == {2} and torch.get_num_threads() == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be tied to a processor")
def test_results_depend_on_threads_not_on_processors() -> None:
    """Sums as long as those of a large network, by MKL and by oneDNN."""
    program = """
import hashlib, os, sys, torch
if sys.argv[1] == "one": os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
torch.set_num_threads(2)
draw = torch.Generator().manual_seed(0)
x, weight = torch.randn(8, 512, 8, 8, generator=draw), torch.randn(256, 512, 3, 3, generator=draw)
images = torch.nn.functional.conv2d(x.contiguous(memory_format=torch.channels_last), weight)
product = torch.randn(8, 4096, generator=draw) @ torch.randn(4096, 384, generator=draw)
print([hashlib.sha256(x.contiguous().numpy().tobytes()).hexdigest() for x in (images, product, x.sum())])
"""
    texts = {
        subprocess.run([sys.executable, "-c", program, processors], capture_output=True, text=True, check=True).stdout
        for processors in ("one", "all")
    }
    assert len(texts) == 1
