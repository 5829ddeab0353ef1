"""Non-finite predictions are skipped; ten in a row roll the run back with smaller steps; the third time it ends."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sds3d.config.schema import CheckpointConfig, Config, GaussiansConfig, PocketConfig, StageConfig
from sds3d.errors import UserError
from sds3d.optimization.guard import PATIENCE, Diverged, Guard
from sds3d.priors.pocket.prior import PocketPrior
from sds3d.runs.folder import RunFolder
from tests.helpers.observer import RecordingObserver, optimize_alone
from tests.helpers.tiny_prior import write_tiny_prior

STEPS = 60


@pytest.fixture(scope="module")
def cfg(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = write_tiny_prior(tmp_path_factory.mktemp("guard") / "prior")
    return Config(
        prompt="a red mushroom", device="cpu", prior=PocketConfig(path=str(folder)),
        representation=GaussiansConfig(num_init=60, max_gaussians=60),
        stages=(StageConfig(steps=STEPS, prior_every=2, resolution=32),),
        checkpoint=CheckpointConfig(every_steps=10, every_seconds=1e9),
    )  # fmt: skip


def run_with(cfg, tmp_path, monkeypatch, is_bad):
    """A run with a prior whose prediction is not finite in call number k if `is_bad(k)`; the last item starts it."""
    calls, rates = [], []
    original_predict_noise = PocketPrior.predict_noise

    def predict_noise(self, *args):
        predictions = original_predict_noise(self, *args)
        calls.append(len(calls))
        if is_bad(calls[-1]):
            predictions[0][2, 0, 0, 0] = torch.nan
        return predictions

    def observed(self, target_is_finite, scene_is_finite, original=Guard.observe):
        rates.append(self.rate)
        original(self, target_is_finite, scene_is_finite)

    monkeypatch.setattr(PocketPrior, "predict_noise", predict_noise)
    monkeypatch.setattr(Guard, "observe", observed)
    progress = RecordingObserver()
    run = RunFolder.create(replace(cfg, out=str(tmp_path)))
    return (
        run,
        progress,
        calls,
        rates,
        lambda: optimize_alone(cfg, run, progress),
    )


def test_a_nonfinite_target_is_skipped_and_counted(cfg, tmp_path, monkeypatch):
    run, progress, _, rates, go = run_with(cfg, tmp_path, monkeypatch, lambda k: k in (3, 4, 9))
    result = go()
    assert result.finished and result.guard == Guard(skipped=3) and set(rates) == {1.0}
    assert all(torch.isfinite(x).all() for x in result.scene.tensors().values())
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "skipped" in row] == [8, 10, 20]
    assert all(("loss" in row) != ("skipped" in row) for row in rows)
    assert result.step == STEPS and not progress.notes


def test_a_skipped_block_changes_nothing(cfg, tmp_path, monkeypatch):
    short = replace(cfg, stages=(replace(cfg.stages[0], steps=4),))
    *_, whole = run_with(short, tmp_path / "a", monkeypatch, lambda k: k == 1)
    shorter = replace(cfg, stages=(replace(cfg.stages[0], steps=4),))
    result = whole()
    *_, first_only = run_with(shorter, tmp_path / "b", monkeypatch, lambda k: k >= 1)
    for name, tensor in first_only().scene.tensors().items():
        assert torch.equal(tensor, result.scene.tensors()[name])


def test_ten_in_a_row_roll_back_with_half_the_learning_rates_and_other_noise(cfg, tmp_path, monkeypatch):
    bad = range(17, 17 + PATIENCE)
    run, progress, calls, rates, go = run_with(cfg, tmp_path, monkeypatch, lambda k: k in bad)
    result = go()
    assert result.finished and result.guard == Guard(skipped=PATIENCE, rollbacks=1)
    [note] = progress.notes
    assert "going back" in note and "0.5" in note
    steps = [step for step, _ in progress.rows]
    # call 17 starts at step 34, after the checkpoint of step 30; call 26, the tenth bad one, ends at step 54
    assert steps == [*range(2, 54, 2), *range(32, STEPS + 1, 2)]
    assert rates == [1.0] * 27 + [0.5] * 15
    assert len(calls) == 27 + 15
    again = RunFolder.open(run.path)[0].load_latest()
    assert again.state["guard"] == result.guard.numbers()


def test_the_third_rollback_ends_the_run_with_a_report(cfg, tmp_path, monkeypatch):
    run, progress, calls, _, go = run_with(cfg, tmp_path, monkeypatch, lambda k: k >= 5)
    with pytest.raises(
        UserError, match=r"10 predictions of the prior in a row were not finite, at step .*another seed"
    ):
        go()
    assert len(progress.notes) == 2 and len(calls) == 5 + 3 * PATIENCE
    report = json.loads((run.path / "failed.json").read_text())
    assert report["rollbacks"] == 3 and report["skipped"] == 3 * PATIENCE and report["stage"] == "shape"
    assert not run.finished
    monkeypatch.undo()
    *_, with_a_good_one = run_with(cfg, tmp_path, monkeypatch, lambda k: False)
    assert with_a_good_one().finished and not (run.path / "failed.json").exists()


def test_a_nonfinite_scene_rolls_back_at_once(cfg, tmp_path, monkeypatch):
    from sds3d.renderers.splat_scene import SplatScene

    original, spoiled = SplatScene.update, []

    def update(self, step, optimizer, render):
        original(self, step, optimizer, render)
        if step == 25 and not spoiled:
            spoiled.append(step)
            self.gaussians.means.data[0] = torch.nan

    monkeypatch.setattr(SplatScene, "update", update)
    _, progress, _, _, go = run_with(cfg, tmp_path, monkeypatch, lambda k: False)
    result = go()
    assert result.finished and result.guard == Guard(rollbacks=1)
    assert "became non-finite" in progress.notes[0]
    assert all(torch.isfinite(x).all() for x in result.scene.tensors().values())


def with_a_last_stage(cfg, blocks):
    """A run of 4 blocks and of a stage of so many, with a checkpoint after each."""
    first, last = replace(cfg.stages[0], steps=8), replace(cfg.stages[0], name="crisp", steps=2 * blocks - 1)
    return replace(cfg, stages=(first, last), checkpoint=replace(cfg.checkpoint, every_steps=1))


@pytest.mark.parametrize("blocks", [1, PATIENCE - 1])
def test_a_stage_without_a_finite_target_ends_the_run(cfg, tmp_path, monkeypatch, blocks):
    two = with_a_last_stage(cfg, blocks)
    run, progress, calls, _, go = run_with(two, tmp_path, monkeypatch, lambda k: k >= 4)
    reason = f"none of the {blocks} predictions of the prior in stage crisp was finite"
    with pytest.raises(UserError, match=rf"{reason}, at step .* \(stage crisp\).*the prior's weights.*another seed"):
        go()
    assert len(progress.notes) == 2 and all(reason in note and "going back" in note for note in progress.notes)
    assert len(calls) == 4 + 3 * blocks
    report = json.loads((run.path / "failed.json").read_text())
    assert (report["stage"], report["reason"]) == ("crisp", reason)
    assert run.load_latest().step == 8 and not run.finished


def test_a_stage_without_a_finite_target_is_tried_again(cfg, tmp_path, monkeypatch):
    two = with_a_last_stage(cfg, 4)
    _, progress, _, rates, go = run_with(two, tmp_path, monkeypatch, lambda k: k in range(4, 8))
    result = go()
    assert result.finished and len(progress.notes) == 1 and rates[-4:] == [0.5] * 4
    assert result.guard == Guard(skipped=4, rollbacks=1) and result.skipped == {}  # of the blocks that count


def test_a_stopped_run_remembers_how_many_blocks_of_the_stage_it_skipped(cfg, tmp_path, monkeypatch):
    two = with_a_last_stage(cfg, 6)
    run, _, _, _, go = run_with(two, tmp_path, monkeypatch, lambda k: k >= 4)
    stops = iter([False] * 6 + [True])
    assert not optimize_alone(two, run, RecordingObserver(), lambda: next(stops)).finished
    with pytest.raises(UserError, match="none of the 6 predictions of the prior in stage crisp was finite"):
        go()


def test_skipped_blocks_are_counted_by_stage(cfg, tmp_path, monkeypatch):
    two = with_a_last_stage(cfg, 9)
    *_, go = run_with(two, tmp_path, monkeypatch, lambda k: k in (0, 2, *range(5, 13)))
    result = go()
    assert result.finished and result.guard == Guard(skipped=10, in_a_row=8)
    assert result.skipped == {"shape": {"skipped": 2, "blocks": 4}, "crisp": {"skipped": 8, "blocks": 9}}


def test_the_guard_counts_targets_in_a_row():
    guard = Guard()
    for _ in range(PATIENCE - 1):
        guard.observe(False, True)
    guard.observe(True, True)
    assert guard == Guard(skipped=PATIENCE - 1)
    with pytest.raises(Diverged):
        for _ in range(PATIENCE):
            guard.observe(False, True)
    guard.roll_back()
    assert guard == Guard(skipped=2 * PATIENCE - 1, rollbacks=1) and guard.rate == 0.5


def test_a_resumed_run_keeps_its_counts(cfg, tmp_path: Path, monkeypatch):
    run, _, _, _, go = run_with(cfg, tmp_path, monkeypatch, lambda k: k == 2)
    stops = iter([False] * 7 + [True])
    assert not optimize_alone(cfg, run, RecordingObserver(), lambda: next(stops)).finished
    assert go().guard == Guard(skipped=1)
