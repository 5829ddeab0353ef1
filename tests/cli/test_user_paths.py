"""A leading ~ in what a user writes is the home folder, wherever a path is expected."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import sds3d
from sds3d.cli.main import main
from sds3d.config.schema import Config, MVDreamConfig, PocketConfig
from sds3d.errors import UserError
from sds3d.files import file_sha256, user_path
from sds3d.priors.kinds import prior_ids, prior_named, unseen_words_of
from sds3d.priors.known import locate
from sds3d.priors.pocket.options import parse
from sds3d.priors.weights import POCKET
from sds3d.runs.folder import RunFolder
from tests.helpers.runs import EMPTY_PLY

ROOT = Path(sds3d.__file__).parent


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder; the current folder is another one, which stays empty."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    yield home
    assert not list(here.iterdir())


def test_only_a_leading_tilde_is_a_home_folder(home: Path) -> None:
    assert user_path("~") == home and user_path("~/a/~b") == home / "a" / "~b"
    for text in ("a/~", "./~", "/~", "", "~no-such-user/a", "$HOME", "a b"):
        assert user_path(text) == Path(text)


def test_out_is_expanded(home: Path) -> None:
    cfg = Config(prompt="a chair", out="~/assets")
    assert RunFolder.create(cfg, prior_ids(cfg)).path.parent == home / "assets"


def test_prior_path_is_expanded(home: Path) -> None:
    (home / "prior").symlink_to(POCKET)
    cfg = Config(prompt="a red zzyzx", prior=PocketConfig(path="~/prior"))
    assert prior_ids(cfg) == prior_ids(Config())
    assert unseen_words_of(cfg) == ["zzyzx"]
    assert prior_named("~/prior", "--prior") == PocketConfig(path=str(home / "prior"))
    (home / "model.pt").touch()
    assert prior_named("~/model.pt", "--prior") == MVDreamConfig(path=str(home / "model.pt"))
    assert locate("~/model.pt") == home / "model.pt"


def test_configs_and_runs_in_the_home_folder_are_found(home: Path, capsys: pytest.CaptureFixture) -> None:
    (home / "my.yaml").write_text("seed: x")
    for command in (["generate", "a chair"], ["estimate"]):
        assert main([*command, "--config=~/my.yaml"]) == 2
        assert capsys.readouterr().err.startswith(f"error: {home}/my.yaml:1: seed: expected a whole number")
    for verb in ("resume", "export"):
        assert main([verb, "~/run"]) == 2
        assert capsys.readouterr().err.startswith(f"error: {home}/run is not a run folder")


def test_export_writes_to_the_home_folder(home: Path) -> None:
    cfg = Config(prompt="a chair", out="~")
    run = RunFolder.create(cfg, prior_ids(cfg))
    (run.path / "splats.ply").write_bytes(EMPTY_PLY)
    outputs = {"splats.ply": file_sha256(run.path / "splats.ply")}
    (run.path / "report.json").write_text(json.dumps({"outputs": outputs, "config_hash": run.config_hash}))
    assert main(["export", f"~/{run.path.name}", "--format=ply", "--to=~/export"]) == 0
    assert (home / "export" / "asset.ply").read_bytes() == EMPTY_PLY


def test_training_reads_and_writes_in_the_home_folder(home: Path) -> None:
    (home / "text").symlink_to(POCKET)
    cfg = parse(["--out=~/new", "--text=~/text"])
    assert (cfg.out, cfg.text) == (home / "new", home / "text")
    with pytest.raises(UserError, match=re.escape(f"{home}/gone")):
        parse(["--out=~/new", "--init=~/gone"])


def test_every_path_option_expands_the_home_folder() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py")}
    assert not [path for path, text in sources.items() if "type=Path" in text]
    assert [path.name for path, text in sources.items() if "expanduser" in text] == ["files.py"]
