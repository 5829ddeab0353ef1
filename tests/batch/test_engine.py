"""The engine of one machine, with workers whose jobs take no time and end as their prompts say."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sds3d.batch.local import Engine, Slot
from sds3d.batch.machine import Share, shares, usable_cores, visible_gpus
from sds3d.batch.plan import Settings
from sds3d.batch.store import LEASED, Record, Store

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "tests.helpers.fake_worker")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = Store(tmp_path / "batch")
    made.create()
    return made


def fill(store: Store, prompts: list[str], attempts: int = 3) -> None:
    Settings(attempts, "cpu").save(store.folder)
    for order, prompt in enumerate(prompts):
        store.add(Record(f"job-{order}", order, prompt))


def engine(store: Store, slots: list[Slot] | None = None, **options: object) -> Engine:
    options = {"attempts": 3, "stop": lambda: False, "watch": lambda: None, "write_pages": lambda: None} | options
    return Engine(store, slots or [Slot(0, Share())], command=COMMAND, **options)


def prompts(store: Store, state: str) -> list[str]:
    return [record.prompt for record in store.records(state)]


def started(store: Store) -> dict[str, list[list[str]]]:
    """Process, GPU and cores of each attempt, by job."""
    folder = store.folder / "started"
    return {path.name: [line.split("|") for line in path.read_text().splitlines()] for path in folder.iterdir()}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: object, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_shares_deal_out_cores_and_gpus() -> None:
    three = shares(3, [0, 1, 2, 3, 8], ["4", "5"])
    assert three == [Share(frozenset(c), g) for c, g in (({0, 3}, "4"), ({1, 8}, "5"), ({2}, "4"))]
    assert [share.cores for share in shares(3, [0, 7], [])] == [{0}, {7}, {0}]  # more workers than cores
    assert shares(2, [], ["4"]) == [Share(), Share()]  # one GPU keeps its name


def test_gpus_keep_the_names_that_the_environment_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-f00d,-1,5")  # -1 ends the list
    assert visible_gpus() == ["3", "GPU-f00d"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus() == ["0", "1"]


def test_each_worker_keeps_to_its_share(store: Store) -> None:
    fill(store, [f"a {index}" for index in range(30)])
    each = shares(2, usable_cores(), ["6", "7"])
    engine(store, [Slot(number, share) for number, share in enumerate(each)]).run()
    assert len(prompts(store, "done")) == 30
    used = {tuple(attempt) for attempts in started(store).values() for attempt in attempts}
    assert len(used) <= 2  # processes go on to the next job
    for _, gpu, cores in used:
        assert {int(core) for core in cores.split(",")} == each["67".index(gpu)].cores


def test_failures_are_classed_and_do_not_stop_the_others(store: Store) -> None:
    fill(store, ["good 1", "raises", "dies", "dies-once", "good 2"])
    engine(store).run()
    assert prompts(store, "done") == ["good 1", "dies-once", "good 2"]
    found = {record.prompt: [entry["reason"] for entry in record.history] for record in store.records("failed")}
    assert found == {"raises": ["crashed"] * 3, "dies": ["worker died"] * 3}
    (record,) = [record for record in store.records("failed") if record.prompt == "raises"]
    assert record.history[0]["message"] == "RuntimeError: a mistake"
    assert "Traceback" in record.history[0]["traceback"]


def test_a_slot_whose_device_fails_job_after_job_gets_no_more_work(store: Store) -> None:
    fill(store, [f"faults {index}" for index in range(9)])
    slot = Slot(0, Share())
    engine(store, [slot]).run()
    assert slot.closed and len(started(store)) < 9
    assert prompts(store, "pending")  # for another slot, or another day


def test_a_job_without_progress_is_ended_and_the_next_one_made(store: Store) -> None:
    fill(store, ["hangs", "good"])
    engine(store, attempts=1, stall_seconds=1.0).run()
    (record,) = store.records("failed")
    assert (record.prompt, record.history[-1]["reason"]) == ("hangs", "stalled")
    assert prompts(store, "done") == ["good"]


def test_a_job_that_takes_too_long_fails_at_once(store: Store) -> None:
    fill(store, ["waits", "good"])
    engine(store, timeout_seconds=1.0).run()
    (record,) = store.records("failed")
    assert (record.prompt, record.history[-1]["reason"], record.attempts) == ("waits", "too long", 1)
    assert prompts(store, "done") == ["good"]


def test_stages_of_a_job_go_to_workers_of_their_role(store: Store) -> None:
    fill(store, [f"a {index}" for index in range(5)])
    engine(store, [Slot(0, Share(), "optimize"), Slot(1, Share(), "finish")]).run()
    assert len(prompts(store, "done")) == 5
    assert all(len({attempt[0] for attempt in attempts}) == 2 for attempts in started(store).values())


def test_a_stop_leaves_jobs_to_the_next_engine(store: Store) -> None:
    fill(store, ["waits", "good"])
    begun = lambda: (store.folder / "started").is_dir()  # noqa: E731
    engine(store, stop=begun).run()
    assert prompts(store, "pending") == ["waits", "good"]
    assert store.records("pending")[0].attempts == 0


PROGRAM = """
import sys
from pathlib import Path
from sds3d.batch.local import Engine, Slot
from sds3d.batch.machine import Share
from sds3d.batch.store import Store
slots = [Slot(0, Share()), Slot(1, Share())]
command = (sys.executable, "-m", "tests.helpers.fake_worker")
Engine(Store(Path(sys.argv[1])), slots, 3, lambda: False, lambda: None, lambda: None, command=command).run()
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="asks /proc for processes")
def test_workers_of_a_killed_engine_save_and_end(store: Store) -> None:
    fill(store, ["waits 1", "waits 2", "good"])
    parent = subprocess.Popen([sys.executable, "-c", PROGRAM, str(store.folder)])
    wait_until(lambda: len(list((store.folder / "started").glob("*"))) == 2)
    pids = [int(attempts[0][0]) for attempts in started(store).values()]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not any(map(alive, pids)))
    assert sorted(prompts(store, "pending")) == ["good", "waits 1", "waits 2"] and store.counts()[LEASED] == 0


def test_two_engines_share_a_batch(store: Store) -> None:
    fill(store, [f"a {index}" for index in range(200)])
    other = subprocess.Popen([sys.executable, "-c", PROGRAM, str(store.folder)])
    engine(store).run()
    assert other.wait(60) == 0
    assert len(prompts(store, "done")) == 200
    assert {len(attempts) for attempts in started(store).values()} == {1}


def test_the_overhead_of_a_job_is_below_50_ms(store: Store) -> None:
    fill(store, [f"a {index}" for index in range(200)])
    begun = time.monotonic()
    engine(store).run()
    seconds = time.monotonic() - begun
    assert len(prompts(store, "done")) == 200
    assert seconds - first_start(store, begun) < 200 * 0.05


def first_start(store: Store, begun: float) -> float:
    """Seconds until the first job began, which is the start of the process."""
    first = min((store.folder / "started").iterdir(), key=lambda path: path.stat().st_mtime)
    return first.stat().st_mtime - time.time() + time.monotonic() - begun
