"""The condition of the estimators' tests: three texts, a ring of cameras, gray backgrounds."""

import pytest
import torch

from sds3d.cameras import turntable
from sds3d.interfaces import Condition, Prompts
from tests.helpers.estimators import NEGATIVE, NULL, TEXT


@pytest.fixture
def condition():
    prompts = Prompts(torch.tensor(TEXT), torch.tensor(NEGATIVE), torch.tensor(NULL))
    return Condition(prompts, turntable(4, 8), torch.full((4, 3), 0.5))
