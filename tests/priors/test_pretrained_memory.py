"""A model that does not fit in memory is not reported as damaged."""

import json
from pathlib import Path

import pytest
import torch

from sds3d.errors import lacking_memory
from sds3d.priors.pretrained import load_model


class TooLarge:
    """A class of models whose weights do not fit."""

    @classmethod
    def from_pretrained(cls, folder: str, **options: object) -> None:
        torch.empty(1 << 60, dtype=torch.uint8)


def test_a_lack_of_memory_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({}))
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(RuntimeError) as error:
        load_model(TooLarge, tmp_path, torch.float32)
    assert lacking_memory(error.value) == "memory"
