"""From rows to jobs, and what a new plan does to a batch."""

import json
from pathlib import Path

import pytest

from sds3d.batch.plan import RUNS, Changes, Request, Settings, make_jobs, put_into
from sds3d.batch.prompts import Row
from sds3d.batch.store import Store
from sds3d.config.load import load_config
from sds3d.config.schema import Config
from sds3d.errors import UserError
from sds3d.files import atomic_write, file_sha256
from sds3d.runs.folder import RunFolder
from sds3d.runs.identity import run_name

SMOKE = Request(Path("smoke"))


def ids(cfg: Config) -> list[str]:
    return ["weights"] * len(cfg.stages)


def jobs_of(folder: Path, rows: list[Row], request: Request = SMOKE) -> list:
    return make_jobs(rows, request, folder, ids)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "batch")
    made.create()
    return made


def put(store: Store, rows: list[Row], request: Request = SMOKE, attempts: int = 3) -> Changes:
    return put_into(store, jobs_of(store.folder, rows, request), attempts)


def finish(store: Store) -> None:
    """Ends the next job with a run that counts as finished."""
    lease = store.claim()
    run, _ = RunFolder.open(store.folder / RUNS / lease.record.name, ids)
    atomic_write(run.path / "mesh.glb", "mesh")
    outputs = {"mesh.glb": file_sha256(run.path / "mesh.glb")}
    atomic_write(run.path / "report.json", json.dumps({"config_hash": run.config_hash, "outputs": outputs}))
    lease.settle("done")


def names(store: Store, state: str) -> list[str]:
    return [record.prompt for record in store.records(state)]


def test_a_job_is_the_run_that_generate_would_make(tmp_path: Path) -> None:
    (job,) = jobs_of(tmp_path, [Row("  a red mushroom ", ("seed=3",))])
    alone = load_config(Path("smoke"), ["seed=3"], "a red mushroom")
    assert job.name == run_name(alone, ids(alone))


def test_seeds_and_swept_values_multiply(tmp_path: Path) -> None:
    request = Request(Path("smoke"), ("seed=10",), ("mesh.faces=500,1000", "mesh.grid=32,48"), num_seeds=3)
    jobs = jobs_of(tmp_path, [Row("a"), Row("b", ("seed=5",))], request)
    found = [(job.cfg.prompt, job.cfg.seed, job.cfg.mesh.faces, job.cfg.mesh.grid) for job in jobs]
    assert found == [
        (prompt, seed, faces, grid)
        for prompt, first in (("a", 10), ("b", 5))
        for faces in (500, 1000)
        for grid in (32, 48)
        for seed in range(first, first + 3)
    ]
    assert jobs[0].changes == ("mesh.faces=500", "mesh.grid=32")
    assert len({job.name for job in jobs}) == len(jobs)


def test_all_bad_rows_are_listed_by_place(tmp_path: Path) -> None:
    rows = [
        Row("a", place="p:1"),
        Row("", place="p:2"),
        Row("a", ("mesh.facs=1",), place="p:3"),
        Row("x" * 700, place="p:4"),
    ]
    rows += [Row("a", (f"{key}=x",), place=f"p:{key}") for key in ("out", "device")]
    with pytest.raises(UserError) as refused:
        jobs_of(tmp_path, rows)
    text = str(refused.value)
    assert [text.count(f"p:{place}: ") for place in (1, 2, 3, 4, "out", "device")] == [0, 1, 1, 1, 1, 1]
    assert "did you mean" in text


@pytest.mark.parametrize("sweep", ["mesh.faces", "mesh.faces=", "=1"])
def test_a_sweep_without_values_is_refused(tmp_path: Path, sweep: str) -> None:
    with pytest.raises(UserError, match="--sweep: expected key=value,value"):
        jobs_of(tmp_path, [Row("a")], Request(sweep=(sweep,)))


@pytest.mark.parametrize(
    ("name", "folder"),
    [("my prompts.txt", "my-prompts"), ("..txt", "batch"), ("漢字.csv", "batch"), ("A" * 90 + ".txt", "a" * 48)],
)
def test_the_folder_is_named_after_the_file_of_prompts(tmp_path: Path, name: str, folder: str) -> None:
    assert Request(overrides=(f"out={tmp_path}",)).folder(Path("/x") / name) == tmp_path / folder


def test_the_same_plan_again_changes_nothing(store: Store) -> None:
    rows = [Row("a"), Row("b"), Row("a")]
    assert put(store, rows) == Changes(new=2, repeated=1)
    finish(store)
    assert put(store, rows) == Changes(kept=1, finished=1, repeated=1)
    assert (names(store, "done"), names(store, "pending")) == (["a"], ["b"])


def test_a_finished_job_whose_files_have_changed_waits_again(store: Store) -> None:
    put(store, [Row("a"), Row("b")])
    finish(store)
    finish(store)
    (path,) = (store.folder / RUNS).glob("a-*/mesh.glb")
    path.write_text("changed")
    assert put(store, [Row("a"), Row("b")]) == Changes(kept=1, finished=1)
    assert (names(store, "pending"), names(store, "done")) == (["a"], ["b"])


def test_a_changed_row_is_a_new_job_and_the_old_one_is_dropped_until_it_returns(store: Store) -> None:
    put(store, [Row("a"), Row("b")])
    finish(store)
    assert put(store, [Row("a", ("seed=1",)), Row("b")]) == Changes(new=1, kept=1, dropped=1)
    assert (names(store, "pending"), names(store, "dropped")) == (["b", "a"], ["a"])
    assert put(store, [Row("a")]) == Changes(kept=1, dropped=2)
    assert names(store, "pending") == ["a"]


def test_what_a_worker_holds_is_left_to_it(store: Store) -> None:
    put(store, [Row("a")])
    lease = store.claim()
    assert put(store, [Row("a"), Row("b")]) == Changes(new=1, kept=1)
    lease.settle("done")
    assert put(store, [Row("b")]) == Changes(kept=1, dropped=1)


@pytest.mark.parametrize(("reason", "again"), [("crashed", True), ("refused", False)])
def test_a_failed_job_is_tried_again_if_that_can_help(store: Store, reason: str, again: bool) -> None:
    put(store, [Row("a")])
    store.claim().settle("failed", attempts=1, history=({"reason": reason},))
    assert put(store, [Row("a")], attempts=1) == Changes(kept=1)
    assert names(store, "failed") == ["a"]
    put(store, [Row("a")], attempts=2)
    assert names(store, "pending" if again else "failed") == ["a"]


def test_settings_survive_and_their_absence_is_named(tmp_path: Path) -> None:
    Settings(5, "cpu").save(tmp_path)
    assert Settings.load(tmp_path) == Settings(5, "cpu")
    with pytest.raises(UserError, match="no batch there"):
        Settings.load(tmp_path / "none")


def test_ten_thousand_rows_are_planned_in_seconds(tmp_path: Path) -> None:
    """Nothing is loaded for a row whose overrides were seen before."""
    calls = []
    rows = [Row(f"prompt {index}", ("seed=1",)) for index in range(10_000)]
    jobs = make_jobs(rows, SMOKE, tmp_path, lambda cfg: calls.append(cfg) or ["weights"])
    assert len({job.name for job in jobs}) == 10_000 and len(calls) == 1
