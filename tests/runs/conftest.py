"""A run folder that is new."""

from pathlib import Path

import pytest

from sds3d.config.schema import Config
from sds3d.runs.folder import RunFolder


@pytest.fixture
def cfg(tmp_path: Path) -> Config:
    return Config(prompt="a red mushroom", out=str(tmp_path / "outputs"))


@pytest.fixture
def run(cfg: Config) -> RunFolder:
    return RunFolder.create(cfg)
