"""What every test shares: switches of PyTorch that a test or a prior sets do not outlive the test."""

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
