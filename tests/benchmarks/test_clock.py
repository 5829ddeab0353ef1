"""The clock of the benchmarks."""

import importlib

import pytest

clock = importlib.import_module("benchmarks.clock")


def test_warm_up_calls_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls take 100, 90, 5, 1, 2 and 3 seconds; the first two are warm-up."""
    now, seconds = 0.0, iter((100.0, 90.0, 5.0, 1.0, 2.0, 3.0))

    def work() -> None:
        nonlocal now
        now += next(seconds)

    monkeypatch.setattr(clock.time, "perf_counter", lambda: now)
    assert clock.durations(work, repeats=4, warm_up=2) == [1000.0, 2000.0, 3000.0, 5000.0]
    seconds = iter((100.0, 90.0, 5.0, 1.0, 2.0, 3.0))
    assert clock.clock(work, repeats=4, warm_up=2) == 2500.0
    assert next(seconds, None) is None


def test_the_gpu_is_idle_at_both_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    def read() -> float:
        events.append("read")
        return 0.0

    monkeypatch.setattr(clock.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(clock.torch.cuda, "synchronize", lambda: events.append("synchronize"))
    monkeypatch.setattr(clock.time, "perf_counter", read)
    clock.durations(lambda: events.append("call"), repeats=1, warm_up=0)
    assert events == ["synchronize", "read", "call", "synchronize", "read"]
