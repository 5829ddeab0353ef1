"""The store of a batch: no job is done twice, none is lost, whoever is killed when."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from sds3d.batch import store as store_module
from sds3d.batch.store import LEASE_SECONDS, LEASED, LeaseLost, Record, Store, owner_is_alive, owner_name
from sds3d.errors import UserError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "batch")
    made.create()
    return made


def fill(store: Store, count: int) -> list[str]:
    names = [f"job-{index}" for index in range(count)]
    for order, name in enumerate(names):
        store.add(Record(name, order, prompt=f"prompt {order}"))
    return names


def names(store: Store, state: str) -> list[str]:
    return [record.name for record in store.records(state)]


def test_jobs_are_taken_in_order_and_end_where_they_are_settled(store: Store) -> None:
    fill(store, 12)
    first, second = store.claim(), store.claim()
    assert (first.record.name, second.record.name) == ("job-0", "job-1")
    assert store.counts() == {"pending": 10, "optimized": 0, "done": 0, "failed": 0, "dropped": 0, LEASED: 2}
    second.settle("failed", attempts=1)
    first.settle("done", seconds=2.5)
    assert store.records("done") == [Record("job-0", 0, "prompt 0", seconds=2.5)]
    assert store.records("failed") == [Record("job-1", 1, "prompt 1", attempts=1)]
    assert store.leased() == [] and store.claim().record.name == "job-2"


def test_what_a_live_process_of_this_host_holds_stays_with_it(store: Store) -> None:
    fill(store, 1)
    lease = store.claim()
    os.utime(lease.path, (0, 0))  # however long ago its last touch was
    store.clock = lambda: 1e9
    store.take_back(attempts=3)
    assert store.leased() == [lease.record]


def claim_and_die(folder: Path) -> None:
    Store(folder).claim()
    os.kill(os.getpid(), signal.SIGKILL)


def killed_holder(store: Store) -> None:
    process = multiprocessing.get_context("fork").Process(target=claim_and_die, args=(store.folder,))
    process.start()
    process.join()


def test_the_job_of_a_dead_process_waits_again_until_its_attempts_are_used_up(store: Store) -> None:
    fill(store, 1)
    for attempt in (1, 2):
        killed_holder(store)
        assert store.claim() is None
        store.take_back(attempts=3)
        assert [record.attempts for record in store.records("pending")] == [attempt]
    killed_holder(store)
    store.take_back(attempts=3)
    (record,) = store.records("failed")
    assert record.attempts == 3 and [entry["reason"] for entry in record.history] == ["worker died"] * 3


def test_a_lease_of_another_host_ends_when_nobody_touches_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """By this process's own clock: the other host's may be wrong."""
    fill(store, 1)
    monkeypatch.setattr(store_module, "_host", lambda: "elsewhere.0")
    lease = store.claim()
    monkeypatch.undo()
    assert owner_is_alive(lease.path.name.partition("@")[2]) is None

    def look(now: float) -> list[Record]:
        store.clock = lambda: now
        store.take_back(attempts=3)
        return store.leased()

    assert look(0.0) and look(LEASE_SECONDS - 1)
    os.utime(lease.path, (5, 5))  # a sign of life, whatever time it names
    assert look(LEASE_SECONDS + 1) and look(2 * LEASE_SECONDS)
    assert not look(2 * LEASE_SECONDS + 2)
    assert names(store, "pending") == ["job-0"]
    with pytest.raises(LeaseLost):  # the other host wakes up
        lease.beat()
    with pytest.raises(LeaseLost):
        lease.settle("done")
    assert names(store, "pending") == ["job-0"] and names(store, "done") == []


def test_a_job_killed_while_it_settled_is_not_done_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, 1)
    lease = store.claim()
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: None)  # killed before this
    lease.settle("done")
    monkeypatch.undo()
    (path,) = (store.folder / LEASED).iterdir()
    path.rename(path.with_name(path.name.replace(f"-{os.getpid()}-", "-999999999-")))
    store.take_back(attempts=3)
    assert names(store, "done") == ["job-0"] and store.leased() == store.records("pending") == []


def work(folder: Path, results: Path) -> None:
    store, rng = Store(folder), random.Random(os.getpid())
    while True:
        store.take_back(attempts=100)
        lease = store.claim()
        if lease is None:
            if not store.may_bring("pending"):
                return
            time.sleep(0.005)
            continue
        time.sleep(rng.random() * 0.004)
        lease.settle("done")
        with (results / str(os.getpid())).open("a") as file:
            file.write(lease.record.name + "\n")


def test_no_job_is_done_twice_or_lost_by_many_processes_that_are_killed(store: Store, tmp_path: Path) -> None:
    """300 jobs, four processes, twenty kills at random moments."""
    expected, results = fill(store, 300), tmp_path / "results"
    results.mkdir()
    context, rng = multiprocessing.get_context("fork"), random.Random(7)
    processes = [context.Process(target=work, args=(store.folder, results)) for _ in range(4)]
    for process in processes:
        process.start()
    for _ in range(20):
        time.sleep(rng.random() * 0.03)
        victim = rng.randrange(4)
        processes[victim].kill()
        processes[victim].join()
        processes[victim] = context.Process(target=work, args=(store.folder, results))
        processes[victim].start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert names(store, "done") == expected
    assert store.counts() == {"pending": 0, "optimized": 0, "done": 300, "failed": 0, "dropped": 0, LEASED: 0}
    finished = Counter(name for path in results.iterdir() for name in path.read_text().split())
    assert max(finished.values()) == 1  # none after it was done; one may be killed before it writes its line


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"name": 1}', "\0" * 10])
def test_a_spoiled_record_is_named(store: Store, text: str) -> None:
    (store.folder / "pending" / "000000.x.json").write_text(text)
    with pytest.raises(UserError, match=r"000000\.x\.json: not the record of a job"):
        store.records("pending")


def test_a_folder_that_is_no_batch_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no batch there"):
        Store(tmp_path).counts()


def test_a_process_is_told_from_a_later_one_of_the_same_number() -> None:
    name = owner_name()
    assert owner_is_alive(name) is True
    assert owner_is_alive(name[:-1] + ("1" if name[-1] != "1" else "2")) is False
    ended = subprocess.run(
        [sys.executable, "-c", "from sds3d.batch.store import owner_name; print(owner_name())"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert owner_is_alive(ended) is False


def test_records_survive_hostile_text(store: Store) -> None:
    record = Record(
        "x", 0, prompt='</script>\u2028 "😀', label="../..", changes=("seed=1",), history=({"reason": "é"},)
    )
    store.add(record)
    assert store.records("pending") == [record]
    assert json.loads((store.folder / "pending" / record.file).read_text(encoding="utf-8"))["label"] == "../.."
