"""Fixtures of all tests: global switches of PyTorch are restored after each test."""

import signal
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def switches_of_torch() -> Iterator[None]:
    benchmark, threads = torch.backends.cudnn.benchmark, torch.get_num_threads()
    yield
    torch.backends.cudnn.benchmark = benchmark
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


@pytest.fixture
def with_terminal() -> Iterator[None]:
    """SIGHUP is not ignored, in this process and those that it starts, even if the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
