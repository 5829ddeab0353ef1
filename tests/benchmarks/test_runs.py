"""The runs of a benchmark are those of a batch."""

from pathlib import Path

import pytest

from benchmarks import runs
from sds3d.batch.plan import RUNS, Request, make_jobs, put_into
from sds3d.batch.prompts import read_prompts
from sds3d.batch.store import Store
from sds3d.config.load import load_config
from sds3d.errors import UserError
from sds3d.priors.kinds import prior_ids

PROMPTS = ["a ball", "it's \u2028 1:30", '"']


def test_folders_are_those_of_the_batch_in_the_order_of_the_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(words: list[str]) -> int:
        file = str(tmp_path / "prompts.jsonl")
        assert words == ["batch", file, "--config", "smoke", "--workers", "2", f"out={tmp_path}"]
        request = Request(Path("smoke"), (words[-1],))
        store = Store(request.folder(Path(words[1])))
        store.create()
        put_into(store, make_jobs(read_prompts(Path(words[1])), request, store.folder, prior_ids), 3)
        return 0

    monkeypatch.setattr(runs, "main", plan)
    folders = runs.make_runs(PROMPTS, "smoke", tmp_path, workers=2)
    assert {path.parent for path in folders} == {tmp_path / "prompts" / RUNS}
    assert [load_config(path / "config.yaml", [], None).prompt for path in folders] == PROMPTS


def test_a_batch_with_failures_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "main", lambda words: 1)
    with pytest.raises(UserError, match="ended with exit code 1; run the command again"):
        runs.make_runs(PROMPTS, "smoke", tmp_path)
