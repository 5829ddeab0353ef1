"""A run that lacks memory says where and what to do, and continues later as if nothing had happened."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sds3d.config.load import load_config
from sds3d.config.schema import Config
from sds3d.errors import UserError
from sds3d.optimization.loop import Attempt
from sds3d.runs.folder import RunFolder
from tests.helpers.observer import RecordingObserver, optimize_alone
from tests.helpers.tiny_prior import write_tiny_prior

CONFIG = """\
prompt: a red mushroom
device: cpu
representation: {num_init: 60, max_gaussians: 120, densify_every: 6}
stages:
- {name: shape, steps: 8, prior_every: 4, resolution: 32}
- {name: detail, steps: 12, prior_every: 3, resolution: 32}
checkpoint: {every_steps: 1}
"""


@pytest.fixture
def cfg(tmp_path: Path) -> Config:
    write_tiny_prior(tmp_path / "prior")
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    return load_config(tmp_path / "tiny.yaml", [f"prior.path={tmp_path / 'prior'}", f"out={tmp_path / 'out'}"], None)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_the_stage_is_named_and_the_run_continues_from_its_checkpoint(cfg, error, tmp_path, monkeypatch) -> None:
    def take(self: Attempt, steps, stage, block, following):
        if block.step == 14:
            raise error
        return take_block(self, steps, stage, block, following)

    take_block, run = Attempt.run_block, RunFolder.create(cfg)
    with monkeypatch.context() as patch, pytest.raises(UserError) as caught:
        patch.setattr(Attempt, "run_block", take)
        optimize_alone(cfg, run, RecordingObserver())
    memory = "memory" if isinstance(error, MemoryError) else "GPU memory"
    assert str(caught.value) == (
        f"{run.path}: stage detail: out of {memory} after step 14; end other programs, then `sds3d resume {run.path}` "
        "continues from the last checkpoint; or begin a run with lower stages.1.num_orbits or stages.1.resolution, "
        "which `sds3d estimate` counts"
    )
    assert run.load_latest().step == 14
    whole = RunFolder(tmp_path / "whole", cfg)
    whole.path.mkdir()
    for each in (run, whole):
        assert optimize_alone(cfg, each, RecordingObserver()).finished
    one, other = (load_file(each.path / "checkpoints/step-000020/tensors.safetensors") for each in (run, whole))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [400, 600, 800, 1000, 1300, 1600])
def test_little_address_space_costs_one_line(megabytes: int, tmp_path: Path) -> None:
    """Below what libraries need, some of them abort, hang or raise signals: preflight refuses such limits."""
    size = megabytes * 2**20
    done = subprocess.run(
        [sys.executable, "-m", "sds3d", "generate", "--config", "smoke", "a red mushroom", f"out={tmp_path}"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.returncode == 2
        last = done.stderr.splitlines()[-1]
        assert last.startswith("error: ") and "memory" in last
