"""The parts that all trainings share: format of states, learning rate, progress lines."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from sds3d.errors import UserError
from sds3d.priors.training import MOMENTS, Progress, Trained, log_and_save, scheduled_rate


def trained(settings: dict[str, str]) -> Trained:
    torch.manual_seed(0)
    return Trained(nn.Linear(3, 2), settings, lr=0.1)


def take_step(one: Trained, value: float) -> torch.Tensor:
    one.weights.grad.fill_(value)
    one.optimizer.step()
    one.step += 1
    return torch.tensor(value)


def test_a_state_has_weights_moments_settings_and_step_by_these_names(tmp_path: Path) -> None:
    """They are the file format: states of earlier versions must stay readable."""
    one = trained({"batch": "4"})
    take_step(one, 1.0)
    one.save(tmp_path / "state")
    with safe_open(tmp_path / "state", "pt") as file:
        assert set(file.keys()) == {"weights", "exp_avg", "exp_avg_sq"}
        assert file.metadata() == {"step": "1", "batch": "4"}


def test_a_resumed_training_takes_the_same_steps(tmp_path: Path) -> None:
    whole, second = trained({}), trained({})
    take_step(whole, 1.0)
    whole.save(tmp_path / "state")
    second.load(tmp_path / "state")
    for one in (whole, second):
        take_step(one, -0.5)
    assert second.step == 2 and torch.equal(whole.weights, second.weights)
    assert all(torch.equal(*(one.optimizer.state[one.weights][name] for one in (whole, second))) for name in MOMENTS)


def test_a_state_with_other_settings_is_rejected(tmp_path: Path) -> None:
    one = trained({"batch": "4"})
    take_step(one, 1.0)
    one.save(tmp_path / "state")
    with pytest.raises(UserError, match="expected batch 8, got 4"):
        trained({"batch": "8"}).load(tmp_path / "state")


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-4]),
    "empty": lambda path: path.write_bytes(b""),
    "no settings": lambda path: save_file({"weights": torch.zeros(8)}, path),
    "no moments": lambda path: save_file({"weights": torch.zeros(8)}, path, {"batch": "4", "step": "1"}),
    "another shape": lambda path: save_file(state(9), path, {"batch": "4", "step": "1"}),
    "no step": lambda path: save_file(state(8), path, {"batch": "4"}),
    "a step in words": lambda path: save_file(state(8), path, {"batch": "4", "step": "one"}),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


def state(size: int) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(size) for name in ("weights", *MOMENTS)}


@pytest.mark.parametrize("spoil", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_state_is_refused_and_nothing_is_restored(spoil: Callable[[Path], object], tmp_path: Path) -> None:
    one, path = trained({"batch": "4"}), tmp_path / "state"
    before = one.weights.detach().clone()
    take_step(other := trained({"batch": "4"}), 1.0)
    other.save(path)
    spoil(path)
    with pytest.raises(UserError, match=f"{path}: (cannot be read|is not a state of|expected batch 4, got None)"):
        one.load(path)
    assert one.step == 0 and torch.equal(one.weights, before)


def test_the_learning_rate_in_closed_form() -> None:
    rates = [scheduled_rate(step, 100, 2.0, warm_up=10, flat=0.6) for step in (0, 9, 60, 80, 100)]
    assert rates == pytest.approx([0.2, 2.0, 2.0, 1.0, 0.0])
    assert scheduled_rate(25, 100, 1.0, warm_up=1, flat=0.0) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_progress_has_the_mean_loss_of_each_interval_and_the_end_is_saved(capsys: pytest.CaptureFixture[str]) -> None:
    one, saved = trained({}), []
    losses = (take_step(one, value) for value in (1.0, 3.0, 5.0))
    log_and_save(losses, one, Progress(3, log_every=2, save_every=60.0, digits=4), lambda: saved.append(one.step))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(2, 2.0), (3, 5.0)]
    assert saved == [3]
