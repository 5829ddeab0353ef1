"""Known models: where they are found, how they are fetched, and ids that do not depend on the location."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from sds3d.config.schema import Config, MVDreamConfig, PocketConfig, PriorConfig, StableDiffusionConfig, StageConfig
from sds3d.errors import UserError
from sds3d.files import cache_folder, file_sha256
from sds3d.priors.fetch import fetch
from sds3d.priors.kinds import kind_of, prior_ids
from sds3d.priors.known import KNOWN, TOKENIZER, KnownModel, Source, existing_path, find_known, locate, locate_tokenizer
from sds3d.priors.weights import content_id, damages, known_digests
from sds3d.runs.identity import config_hash
from tests.helpers.fake_models import write_snapshot, write_source
from tests.helpers.hostile import HOSTILE

SD = find_known("sd-2.1-base")
MVDREAM = find_known("mvdream-sd2.1")


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches of this program and of Hugging Face; returns the folder of the latter."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "hub"


def refused(path: str) -> str:
    with pytest.raises(UserError) as caught:
        locate(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def prior_id(cfg: PriorConfig) -> str:
    return kind_of(cfg).find("prior.path").id


def run_hash(cfg: Config) -> str:
    return config_hash(cfg, prior_ids(cfg))


def test_the_table_of_known_models_is_consistent() -> None:
    assert len({model.name for model in KNOWN}) == len(KNOWN)
    for model in KNOWN:
        for source in model.sources:
            assert all(repo.count("/") == 1 for repo in source.repos)
            files = [name for names in source.files for name in names]
            assert len(set(files)) == len(files) and not any(set(name) & set("*?[]\\") for name in files)
            assert all(not Path(name).is_absolute() and ".." not in name for name in files)


def test_the_caches_are_those_of_huggingface_hub(tmp_path: Path) -> None:
    code = "from sds3d.priors.known import hub_cache, is_offline; print(hub_cache(), is_offline())"

    def answer(**variables: str) -> str:
        environment = {name: x for name, x in os.environ.items() if not name.startswith(("HF_", "XDG_"))} | variables
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stdout

    assert answer(HF_HUB_CACHE="/a", HF_HOME="/b", HF_HUB_OFFLINE="1") == "/a True\n"
    assert answer(HF_HOME="/b", HF_HUB_OFFLINE="0") == "/b/hub False\n"
    assert answer(XDG_CACHE_HOME="/c") == "/c/huggingface/hub False\n"


def test_an_existing_path_is_used_directly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate(str(tmp_path)) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x").touch()
    assert locate("~/x") == tmp_path / "x"


@pytest.mark.parametrize("choice", [0, 1, 2])
@pytest.mark.parametrize("model", KNOWN, ids=lambda model: model.name)
def test_every_model_is_found_by_name(model: KnownModel, choice: int, caches: Path, tmp_path: Path) -> None:
    for source in model.sources[::-1]:  # the first that is looked for comes last
        for repo in reversed(range(len(source.repos))):
            snapshot = write_snapshot(source, caches, repo, choice=choice)
            assert locate(model.name) == (snapshot / source.files[0][0] if source.is_file else snapshot)
    by_hand = write_source(model.sources[0], tmp_path / "cache" / "sds3d" / "models" / model.name)
    found = locate(model.name)
    assert found == (by_hand / model.sources[0].files[0][0] if model.sources[0].is_file else by_hand)


def test_the_newest_complete_revision_is_used(caches: Path) -> None:
    source = SD.sources[0]
    for revision in ("aaa", "bbb", "ccc"):
        write_snapshot(source, caches, revision=revision)
    refs = caches / f"models--{source.repos[0].replace('/', '--')}" / "refs"
    refs.mkdir()
    (refs / "main").write_text("bbb")
    newest = locate(SD.name)
    assert newest.name == "bbb"
    (newest / "vae" / "config.json").unlink()
    assert locate(SD.name).name == "aaa"


def test_a_missing_model_error_explains_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = refused("mvdream-sd2.1")
    assert text.startswith("prior.path: mvdream-sd2.1 is not on this machine; its license is OpenRAIL; ")
    assert "`sds3d prior fetch mvdream-sd2.1`" in text and "`hf download MVDream/MVDream sd-v2.1-base-4view.pt`" in text
    assert "(2.6 GB)" in text and str(tmp_path / "cache" / "sds3d" / "models" / "mvdream-sd2.1") in text
    assert "HF_HUB_OFFLINE" not in text and "hf auth login" not in text
    assert "hf auth login" in refused("sd3.5-medium")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set, unset it" in refused("mvdream-sd2.1")


def test_an_interrupted_download_is_named(caches: Path) -> None:
    snapshot = write_snapshot(SD.sources[0], caches)
    weights = snapshot / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    weights.resolve().unlink()  # a link to a blob that is still on its way
    text = refused(SD.name)
    assert f"is not complete: {snapshot} lacks unet/diffusion_pytorch_model.fp16.safetensors;" in text


@pytest.mark.parametrize("name", [*HOSTILE, "", "x" * 5000, "a\0b", "~nobody-here/x", "../../sd-1.5", "\ud800"])
def test_hostile_names_are_not_models(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if name in ("/", ".", "~"):  # folders like any other
        assert locate(name) == Path(name).expanduser()
    else:
        assert "no such file or folder, and no known model" in refused(name)


def test_a_misspelled_name_gets_a_suggestion() -> None:
    assert "did you mean 'sd-2.1-base'?" in refused("sd-21-base")


def test_the_tokenizer_is_found_in_any_installed_model(caches: Path) -> None:
    with pytest.raises(UserError, match="vocab.json and merges.txt in a folder `tokenizer` beside the checkpoint"):
        locate_tokenizer()
    snapshot = write_snapshot(find_known("sd-1.5").sources[0], caches, repo=1)
    assert locate_tokenizer() == snapshot / "tokenizer"
    snapshot = write_snapshot(TOKENIZER, caches)
    assert locate_tokenizer() == snapshot


class Hub:
    """A fake huggingface_hub.snapshot_download, with repositories of files in a cache."""

    def __init__(self, cache: Path, repos: dict[str, list[str]]) -> None:
        self.cache, self.repos = cache, repos
        self.asked: list[str] = []

    def snapshot_download(self, repo: str, allow_patterns: list[str]) -> str:
        self.asked.append(repo)
        if repo not in self.repos:
            raise OSError(f"404 Client Error\nfor {repo}")
        names = tuple((name,) for name in self.repos[repo] if name in allow_patterns)
        return str(write_snapshot(Source((repo,), names, 0), self.cache))


def hub(monkeypatch: pytest.MonkeyPatch, cache: Path, repos: dict[str, list[str]]) -> Hub:
    made = Hub(cache, repos)
    monkeypatch.setattr("huggingface_hub.snapshot_download", made.snapshot_download)
    return made


def test_fetch_uses_the_first_repository_with_all_files(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, whole, never = SD.sources[0].repos
    full = [names[min(1, len(names) - 1)] for names in SD.sources[0].files]  # weights in single precision only
    fake = hub(monkeypatch, caches, {whole: [*full, "v2-1_512-ema-pruned.ckpt"], never: full})
    notes: list[str] = []
    found = fetch(SD, notes.append)
    assert found == locate(SD.name) and never not in fake.asked
    assert (found / "unet" / "diffusion_pytorch_model.safetensors").is_file()
    assert not (found / "v2-1_512-ema-pruned.ckpt").exists()
    assert notes == [
        "sd-2.1-base, license: CreativeML OpenRAIL++-M",
        f"fetching 2.6 GB from {gone}",
        f"fetching 2.6 GB from {whole}",
    ]
    fake.asked.clear()
    assert fetch(SD, notes.append) == found and not fake.asked


def test_a_failed_fetch_reports_the_error_of_each_repository(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, caches, {SD.sources[0].repos[1]: ["vae/config.json"]})
    with pytest.raises(UserError) as caught:
        fetch(SD, print)
    text = str(caught.value)
    assert f"{SD.sources[0].repos[0]}: 404 Client Error for" in text
    assert f"{SD.sources[0].repos[1]}: lacks model_index.json, scheduler/scheduler_config.json" in text
    with pytest.raises(UserError, match="agree to its license .* `hf auth login`"):
        fetch(find_known("sd3.5-medium"), print)


def test_fetch_also_downloads_the_tokenizer_of_a_single_file(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"MVDream/MVDream": ["sd-v1.5-4view.pt"], TOKENIZER.repos[0]: ["vocab.json", "merges.txt", "x.bin"]}
    hub(monkeypatch, caches, files)
    assert fetch(find_known("mvdream-sd1.5"), print).name == "sd-v1.5-4view.pt"
    assert locate_tokenizer().parent.parent.name == "models--openai--clip-vit-large-patch14"


def test_fetch_fails_offline_and_without_disk_space(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = hub(monkeypatch, caches, {})
    monkeypatch.setattr("sds3d.priors.fetch.free_bytes", lambda path: 10**9)
    with pytest.raises(UserError, match=r"2.6 GB needed, 1.0 GB free in .*set HF_HOME"):
        fetch(SD, print)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        fetch(SD, print)
    assert not fake.asked


def test_fetch_rejects_damaged_files(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = hub(monkeypatch, caches, {SD.sources[0].repos[0]: [names[0] for names in SD.sources[0].files]})

    def damaging(repo: str, allow_patterns: list[str]) -> str:
        folder = fake.snapshot_download(repo, allow_patterns)
        (Path(folder) / "vae" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"half")
        return folder

    monkeypatch.setattr("huggingface_hub.snapshot_download", damaging)
    with pytest.raises(UserError, match="vae/diffusion_pytorch_model.fp16.safetensors: damaged: expected sha256"):
        fetch(SD, print)


def test_digests_come_from_the_manifest_or_the_cache(caches: Path, tmp_path: Path) -> None:
    folder = write_source(SD.sources[0], tmp_path / "plain")
    assert known_digests(folder) == {}
    weights = folder / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    manifest = {"unet/diffusion_pytorch_model.fp16.safetensors": file_sha256(weights), "vae/gone": "0" * 64}
    (folder / "sha256.json").write_text(json.dumps(manifest))
    assert damages(known_digests(folder)) == [f"{folder / 'vae/gone'}: missing"]
    snapshot = write_snapshot(SD.sources[0], caches)
    digests = known_digests(snapshot)
    assert {path.parent.name for path in digests} == {"unet", "vae", "text_encoder"} and not damages(digests)


@pytest.mark.parametrize("cls", [MVDreamConfig, StableDiffusionConfig])
def test_the_id_depends_on_the_weights_not_on_their_location(cls: type, caches: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"prior.path: {SD.name} is not on this machine"):
        prior_id(cls(path=SD.name))
    copied = write_source(SD.sources[0], tmp_path / "copy")
    os.utime(copied / "vae" / "config.json", (0, 0))
    (copied / "README.md").write_text("x")
    (copied / "safety_checker").mkdir()
    (copied / "safety_checker" / "config.json").write_text("x")
    cached = write_snapshot(SD.sources[0], caches)
    expected = prior_id(cls(path=str(copied)))
    assert prior_id(cls(path=SD.name)) == prior_id(cls(path=str(cached))) == expected
    assert len(expected) == 16 and int(expected, 16)
    for name in ("vae/config.json", "model_index.json"):
        (copied / name).write_text("another")
        assert prior_id(cls(path=str(copied))) != expected
        (copied / name).write_text(name)


@pytest.mark.parametrize("large", [1, 1 << 40])
def test_the_id_changes_with_any_tensor(
    large: int, caches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cached or not: one number of each of 40 MB of tensors, in a file that was hashed before the change."""
    monkeypatch.setattr("sds3d.priors.weights.LARGE", large)
    monkeypatch.setattr("sds3d.priors.weights.SETTLED", -1e9)
    path = tmp_path / "model.safetensors"
    tensors = {f"layer.{index}": torch.zeros(1_000_000) for index in range(10)}
    ids = set()
    for name in [None, *tensors]:
        if name is not None:
            tensors[name][123_456] = 1.5
        save_file(tensors, path)
        ids.add(content_id(path))
    assert len(ids) == 11


def test_a_large_file_is_read_once_and_again_after_each_change(
    caches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sds3d.priors.weights.LARGE", 1)
    read = Mock(wraps=file_sha256)
    monkeypatch.setattr("sds3d.priors.weights.file_sha256", read)
    path = tmp_path / "model.pt"
    path.write_bytes(b"first")
    first = content_id(path)
    assert content_id(path) == first and read.call_count == 2  # too new: it may yet change unnoticed
    monkeypatch.setattr("sds3d.priors.weights.SETTLED", -1e9)
    assert [content_id(path) for _ in range(3)] == [first] * 3 and read.call_count == 3
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(b"other")
    os.utime(path, ns=times)  # as old as before, and as long
    assert content_id(path) != first and read.call_count == 4
    for cached in (cache_folder() / "digests").iterdir():
        cached.write_bytes(b"\xff damaged")
    assert content_id(path) == content_id(path) != first and read.call_count == 5


def test_the_id_of_a_checkpoint_changes_with_its_tokenizer(tmp_path: Path) -> None:
    checkpoint, tokenizer = tmp_path / "model.pt", tmp_path / "tokenizer"
    checkpoint.write_bytes(b"x")
    tokenizer.mkdir()
    (tokenizer / "vocab.json").write_text("{}")
    ids = []
    for merges in ("#version: 0.2\na b\n", "#version: 0.2\n", "#version: 0.2\na b\n"):
        (tokenizer / "merges.txt").write_text(merges)
        ids.append(prior_id(MVDreamConfig(path=str(checkpoint))))
    assert ids[0] == ids[2] != ids[1]


def test_the_id_of_a_folder_with_a_manifest_is_that_of_the_manifest(tmp_path: Path) -> None:
    folder = write_source(MVDREAM.sources[0], tmp_path / "converted")
    (folder / "sha256.json").write_text("{}")
    before = prior_id(MVDreamConfig(path=str(folder)))
    (folder / "vae" / "config.json").write_text("another")
    assert prior_id(MVDreamConfig(path=str(folder))) == before
    (folder / "sha256.json").write_text("{ }")
    assert prior_id(MVDreamConfig(path=str(folder))) != before


@pytest.mark.parametrize("name", [*HOSTILE, "", "\0", "x" * 5000, "\ud800"])
def test_no_name_makes_the_search_fail(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where ../../etc/passwd leads nowhere
    for cfg in (MVDreamConfig(path=name), StableDiffusionConfig(path=name)):
        if existing_path(name):  # such as "/"
            assert len(prior_id(cfg)) == 16
        else:
            with pytest.raises(UserError, match="no such file or folder, and no known model"):
                prior_id(cfg)


def test_weights_that_cannot_be_read_have_no_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("sds3d.priors.weights._digest", fail)
    folder = write_source(SD.sources[0], tmp_path / "copy")
    with pytest.raises(UserError, match="copy: cannot be read .Permission denied.; check its files"):
        prior_id(StableDiffusionConfig(path=str(folder)))


def test_a_run_does_not_depend_on_the_location_of_weights_or_on_how_it_is_computed(
    caches: Path, tmp_path: Path
) -> None:
    copied = str(write_source(SD.sources[0], tmp_path / "copy"))
    write_snapshot(SD.sources[0], caches)
    cfg = Config(prompt="x", prior=StableDiffusionConfig(path=SD.name))
    same = replace(cfg, prior=StableDiffusionConfig(path=copied, compile=False, vae_batch=3))
    assert run_hash(same) == run_hash(cfg)
    assert run_hash(replace(cfg, prior=StableDiffusionConfig(path=copied, view_texts=False))) != run_hash(cfg)
    (Path(copied) / "vae" / "config.json").write_text("another")
    assert run_hash(same) != run_hash(cfg)


def test_a_run_depends_on_the_priors_of_its_stages(caches: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    write_source(SD.sources[0], copied)

    def run(prior: StableDiffusionConfig | PocketConfig) -> str:
        return run_hash(Config(prompt="x", stages=(StageConfig(), StageConfig(name="b", prior=prior))))

    before = run(StableDiffusionConfig(path=str(copied)))
    assert run(StableDiffusionConfig(path=str(copied), compile=False, vae_batch=1)) == before
    assert run(PocketConfig()) != before
    (copied / "vae" / "config.json").write_text("another")
    assert run(StableDiffusionConfig(path=str(copied))) != before


def test_a_run_depends_on_which_stage_has_which_weights(tmp_path: Path) -> None:
    paths = [str(write_source(SD.sources[0], tmp_path / name)) for name in ("a", "b")]
    (tmp_path / "b" / "vae" / "config.json").write_text("another")
    one, other = (StableDiffusionConfig(path=path) for path in paths)
    stages = [
        tuple(StageConfig(name=f"s{index}", prior=prior) for index, prior in enumerate(priors))
        for priors in ((one, other, one), (one, other, other), (other, one, other))
    ]
    assert len({run_hash(Config(prompt="x", stages=each)) for each in stages}) == 3


def test_a_folder_name_is_not_a_pattern(tmp_path: Path) -> None:
    folder = write_source(SD.sources[0], tmp_path / "a[b]*")
    before = prior_id(StableDiffusionConfig(path=str(folder)))
    assert prior_id(StableDiffusionConfig(path=str(folder.rename(tmp_path / "ab")))) == before
