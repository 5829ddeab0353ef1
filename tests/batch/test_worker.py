"""A worker's jobs: real runs in this process, with a tiny prior."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sds3d.batch import status
from sds3d.batch.failures import REASONS, failure_of
from sds3d.batch.gallery import NAME, write_pages
from sds3d.batch.plan import RUNS, Request, make_jobs, put_into
from sds3d.batch.prompts import Row
from sds3d.batch.status import Reporter, Status, statuses
from sds3d.batch.store import LEASED, Store
from sds3d.batch.worker import Worker
from sds3d.errors import UserError
from sds3d.files import refused
from sds3d.priors import cache
from sds3d.priors.cache import Priors
from sds3d.priors.kinds import prior_ids
from tests.helpers.observer import never
from tests.helpers.tiny_prior import write_tiny_prior

TINY = (
    "stages.0.steps=16", "stages.0.resolution=16", "representation.num_init=100", "representation.max_gaussians=150",
    "mesh.grid=24", "mesh.faces=200", "mesh.texture_size=64", "mesh.bake_views=4", "mesh.bake_resolution=32",
    "preview.resolution=32", "preview.frames=2", "checkpoint.every_steps=8",
)  # fmt: skip


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_prior(tmp_path_factory.mktemp("prior") / "tiny")


@pytest.fixture
def plan(tmp_path: Path, prior: Path) -> Callable[..., Store]:
    """Makes a batch of prompts in a folder of its own."""

    def make(*prompts: str, name: str = "batch") -> Store:
        store = Store(tmp_path / name)
        store.create()
        request = Request(Path("smoke"), (*TINY, "device=cpu", f"prior.path={prior}"))
        put_into(store, make_jobs([Row(prompt) for prompt in prompts], request, store.folder, prior_ids), 3)
        return store

    return make


def nothing() -> None: ...


def worker(store: Store, stop: Callable[[], bool] = never, role: str = "all") -> Worker:
    reporter = Reporter(store.folder, role, 0, nothing, nothing)
    return Worker(store, Priors(torch.device("cpu")), reporter, 3, stop, role)


def outputs(store: Store) -> dict[str, dict[str, str]]:
    """The hashes of the files of each finished run."""
    reports = (store.folder / RUNS).glob("*/report.json")
    return {path.parent.name: json.loads(path.read_text())["outputs"] for path in reports}


def test_one_worker_makes_all_assets_with_one_prior(
    plan: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[object] = []

    build = cache.build_prior
    monkeypatch.setattr(cache, "build_prior", lambda *args: loaded.append(args) or build(*args))
    store = plan("a red mushroom", "red", "mushroom")
    assert worker(store).work()
    assert [record.prompt for record in store.records("done")] == ["a red mushroom", "red", "mushroom"]
    assert len(loaded) == 1 and len(outputs(store)) == 3
    assert all(record.seconds > 0 for record in store.records("done"))


def test_stopped_continued_and_divided_jobs_end_in_the_same_files(plan: Callable[..., Store]) -> None:
    whole = plan("a red mushroom", "red", name="whole")
    worker(whole).work()
    divided = plan("a red mushroom", "red", name="divided")
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    assert worker(divided, stop, "optimize").work()
    assert divided.counts()["pending"] == 2 and divided.records("pending")[0].attempts == 0
    worker(divided, role="optimize").work()
    assert divided.counts()["optimized"] == 2 and outputs(divided) == {}
    worker(divided, role="finish").work()
    assert outputs(divided) == outputs(whole) and len(outputs(whole)) == 2


def test_a_job_whose_run_is_refused_fails_with_the_reason_and_no_second_attempt(plan: Callable[..., Store]) -> None:
    store = plan("red", "mushroom")
    name = store.records("pending")[0].name
    (store.folder / RUNS / name / "config.yaml").write_text("seed: x\n")
    worker(store).work()
    (record,) = store.records("failed")
    assert record.attempts == 1 and record.history[0]["reason"] == "refused"
    assert "seed: expected a whole number" in record.history[0]["message"]
    assert len(store.records("done")) == 1


def test_a_run_whose_config_was_changed_is_not_taken_for_the_job(plan: Callable[..., Store]) -> None:
    store = plan("red")
    path = store.folder / RUNS / store.records("pending")[0].name / "config.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 1"))
    worker(store).work()
    (record,) = store.records("failed")
    assert "have changed; run the same batch again" in record.history[0]["message"]


def test_a_signal_after_the_last_step_gives_the_job_back(plan: Callable[..., Store]) -> None:
    class Signal(BaseException): ...

    def interrupt() -> None:
        raise Signal

    store = plan("red")
    broken = worker(store)
    broken.reporter.when_finishing = interrupt
    with pytest.raises(Signal):
        broken.work()
    assert store.counts()["pending"] == 1 and store.counts()[LEASED] == 0


def test_a_worker_that_lost_its_lease_leaves_the_job_alone(plan: Callable[..., Store]) -> None:
    store = plan("red")
    taken_by = worker(store)
    real = taken_by.attempt

    def attempt(record: object) -> str:
        state = real(record)
        (path,) = (store.folder / LEASED).iterdir()
        path.rename(store.folder / "pending" / path.name.partition("@")[0])  # as another process takes it back
        taken_by.max_jobs = 0
        return state

    taken_by.attempt = attempt
    taken_by.make(store.claim())
    assert store.counts()["pending"] == 1 and store.counts()["done"] == 0


def test_the_status_follows_the_job_and_goes_with_the_worker(
    plan: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "EVERY_SECONDS", 0.0)
    store = plan("red")
    seen: list[Status] = []

    def look() -> bool:
        seen.extend(statuses(store.folder))
        return False

    watched = worker(store, look)
    watched.work()
    assert {(now.role, now.prompt) for now in seen if now.job} == {("all", "red")}
    assert {(now.step, now.total_steps) for now in seen if now.job} == {(step, 16) for step in (4, 8, 12, 16)}
    watched.reporter.close()
    assert statuses(store.folder) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UserError("no"), "refused"),
        (refused(OSError(errno.ENOSPC, "full"), Path("/x")), "disk full"),
        (OSError(errno.EDQUOT, "full"), "disk full"),
        (MemoryError(), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory."), "out of memory"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "device fault"),
        (RuntimeError("shapes"), "crashed"),
        (KeyError("x"), "crashed"),
    ],
)
def test_errors_are_classed(error: Exception, reason: str) -> None:
    if isinstance(error, UserError) and reason == "disk full":
        error.__cause__ = OSError(errno.ENOSPC, "full")  # as `raise ... from` sets it
    assert failure_of(error).reason == reason and reason in REASONS


def test_the_gallery_shows_finished_and_failed_jobs_and_no_prompt_escapes(plan: Callable[..., Store]) -> None:
    prompt = "</script><script>alert(1)</script>"
    store = plan(prompt, "red")
    worker(store).work()
    store.move(store.records("done")[1], "done", "failed", history=({"reason": "stalled", "message": "<b>"},))
    write_pages(store, running=False)
    page = (store.folder / NAME).read_text(encoding="utf-8")
    assert "<script>alert" not in page and "http" not in page.replace("http-equiv", "")
    data = page.partition('id="data">')[2].partition("</script>")[0]
    done, failed = json.loads(data)["cards"]
    assert done["prompt"] == prompt and "mesh.glb" in done["outputs"] and done["numbers"]["faces"] > 0
    assert failed["failure"]["remedy"] == REASONS["stalled"].remedy
    line = json.loads((store.folder / "failures.jsonl").read_text(encoding="utf-8"))
    assert (line["prompt"], line["reason"], line["message"]) == ("red", "stalled", "<b>")
