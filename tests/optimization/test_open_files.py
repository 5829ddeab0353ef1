"""No file of a run stays open after the loop, however it ends."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from sds3d.config.schema import Config, GaussiansConfig, PocketConfig, StageConfig
from sds3d.errors import UserError
from sds3d.priors.pocket.prior import PocketPrior
from sds3d.runs.folder import RunFolder
from tests.helpers.observer import RecordingObserver, optimize_alone
from tests.helpers.tiny_prior import write_tiny_prior


def open_files(folder: Path) -> list[str]:
    """The files in `folder` that this process holds open."""
    targets = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # of the listing itself
            targets.append(os.readlink(entry))
    return [target for target in targets if target.startswith(str(folder))]


@pytest.mark.parametrize("end", ["finished", "stopped", "diverged"])
def test_the_loop_leaves_no_file_open(end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = StageConfig(steps=3, prior_every=1, resolution=16)
    cfg = Config(
        prompt="x", device="cpu", out=str(tmp_path), prior=PocketConfig(path=str(write_tiny_prior(tmp_path / "prior"))),
        representation=GaussiansConfig(num_init=20, max_gaussians=20), stages=(stage,),
    )  # fmt: skip
    run = RunFolder.create(cfg)
    logged: list[list[str]] = []
    if end == "diverged":
        original = PocketPrior.predict_noise
        monkeypatch.setattr(PocketPrior, "predict_noise", lambda *args: [x * torch.nan for x in original(*args)])

    def stop() -> bool:
        logged.append(open_files(run.path))
        return end == "stopped"

    if end == "diverged":
        with pytest.raises(UserError):
            optimize_alone(cfg, run, RecordingObserver(), stop)
    else:
        assert optimize_alone(cfg, run, RecordingObserver(), stop).finished == (end == "finished")
    assert logged[0] == [str(run.metrics)]  # so the search finds what is open
    assert open_files(run.path) == []
