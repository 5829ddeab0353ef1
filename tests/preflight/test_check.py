"""Checks before a run: everything missing is reported at once, before the run folder is created."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from sds3d.cli.main import main
from sds3d.cli.prior_option import preset_for, prior_overrides
from sds3d.config.load import find_preset
from sds3d.config.schema import Config, MVDreamConfig, PocketConfig, SDSConfig, StableDiffusionConfig, StageConfig
from sds3d.errors import UserError
from sds3d.preflight.check import LEAST, preflight
from sds3d.preflight.estimate import GIB, GpuMemory, estimate
from sds3d.priors.kinds import named_priors
from sds3d.priors.known import find_known
from sds3d.priors.weights import POCKET, Found, content_id
from sds3d.runs.folder import RunFolder
from tests.helpers.fake_models import write_configs, write_source

CFG = Config(prompt="a red mushroom")
SD = find_known("sd-2.1-base")
MISSING = MVDreamConfig(path="mvdream-sd2.1")


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def problem(cfg: Config) -> str:
    with pytest.raises(UserError) as caught:
        preflight(cfg)
    return str(caught.value)


def stages(*priors: object) -> tuple[StageConfig, ...]:
    return tuple(StageConfig(name=f"s{index}", prior=prior) for index, prior in enumerate(priors))


def gpu(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    """Simulates a machine with a GPU that has `free` bytes of free memory."""
    monkeypatch.setattr("sds3d.native.devices.resolve_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr("sds3d.preflight.estimate.gpu_memory", lambda: GpuMemory("Small GPU", round(free)))


def test_the_shipped_prior_is_always_found(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, free=0)  # not measured
    assert preflight(CFG) == {CFG.prior: Found(POCKET, content_id(POCKET))}


def test_checking_the_shipped_prior_imports_nothing_heavy() -> None:
    code = "import sys; from sds3d.config.schema import Config; from sds3d.preflight.check import preflight; "
    code += "preflight(Config()); "
    code += "assert not {'torch', 'diffusers', 'huggingface_hub'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_everything_missing_is_reported_at_once() -> None:
    text = problem(
        replace(CFG, prior=PocketConfig(path="/nowhere"), stages=stages(StageConfig().prior, MISSING, MISSING))
    )
    assert text.startswith("prior.path: /nowhere: no such folder; expected a folder made by `sds3d prior train`; ")
    assert text.count("stages.1.prior.path: mvdream-sd2.1 is not on this machine") == 1 and "stages.2" not in text


def test_a_prior_that_no_stage_uses_may_be_missing() -> None:
    preflight(replace(CFG, prior=MISSING, stages=stages(PocketConfig())))
    assert named_priors(replace(CFG, prior=MISSING, stages=stages(PocketConfig()))) == {
        PocketConfig(): "stages.0.prior.path"
    }


def test_a_run_that_cannot_fit_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prior = StableDiffusionConfig(path=write_configs(tmp_path / "tiny"))
    cfg = replace(CFG, prior=prior, stages=(StageConfig(), StageConfig(name="large", num_orbits=64)))
    needed = estimate(cfg, "cuda").largest.needed
    gpu(monkeypatch, free=needed)
    preflight(cfg)
    gpu(monkeypatch, free=needed - 0.6 * GIB)  # measuring the free memory allocates CUDA's context of 0.5 GiB
    text = problem(cfg)
    assert text.startswith(f"stages.1: large needs about {needed / GIB:.1f} GiB of GPU memory for 64 images at once, ")
    assert "Small GPU has " in text and "stages.1.num_orbits" in text and "vae_batch=1" in text
    preflight(replace(cfg, stages=stages(PocketConfig())))


def test_large_priors_are_measured_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = replace(CFG, device="cpu", prior=StableDiffusionConfig(path=write_configs(tmp_path / "tiny")))
    preflight(cfg)
    small = replace(cfg.preview, resolution=16), replace(cfg.mesh, grid=16, texture_size=16, bake_resolution=16)
    cfg = replace(cfg, preview=small[0], mesh=small[1], stages=(StageConfig(num_orbits=64),))
    needed = LEAST + estimate(cfg, "cpu").largest.needed
    monkeypatch.setattr("sds3d.preflight.check.host_memory", lambda: needed)
    preflight(cfg)
    monkeypatch.setattr("sds3d.preflight.check.host_memory", lambda: needed - 1)
    assert problem(cfg).startswith("stages.0: shape needs about ")


def test_a_rejected_run_creates_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    config = tmp_path / "one.yaml"
    config.write_text("stages: [{}]")
    command = ["generate", "x", "--config", str(config), "--prior", "mvdream-sd2.1", f"out={out}"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: prior.path: mvdream-sd2.1 is not on this machine; ") and error.count("\n") == 1
    assert not out.exists()


def test_resume_reports_missing_priors(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cfg = replace(CFG, prior=MISSING, out=str(tmp_path), stages=(StageConfig(estimator=SDSConfig()),))
    run = RunFolder.create(cfg)
    assert main(["resume", str(run.path)]) == 2
    assert "error: prior.path: mvdream-sd2.1 is not on this machine" in capsys.readouterr().err


def test_a_prior_is_recognized_by_name_or_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kind(given: Path | str) -> str:
        overrides = prior_overrides(str(given))
        path = "" if given == "pocket" else given
        assert overrides[1] == f"prior.path={path}"
        return overrides[0].removeprefix("prior.kind=")

    assert prior_overrides(None) == []
    assert (kind("pocket"), kind("mvdream-sd1.5"), kind("sd-1.5")) == ("pocket", "mvdream", "stable-diffusion")
    checkpoint = tmp_path / "a=b model.pt"
    checkpoint.touch()
    assert kind(checkpoint) == "mvdream"
    assert kind(write_configs(tmp_path / "single")) == "stable-diffusion"
    assert kind(write_configs(tmp_path / "many", {"class_embed_type": "projection"})) == "mvdream"
    assert kind(write_configs(tmp_path / "community", {"camera_dim": 16})) == "mvdream"
    assert kind(tmp_path) == "stable-diffusion"  # its loader reports what is missing
    assert kind(Path(__file__).parents[2] / "sds3d" / "priors" / "pocket" / "weights") == "pocket"
    monkeypatch.chdir(tmp_path)
    assert prior_overrides("single") == ["prior.kind=stable-diffusion", f"prior.path={tmp_path / 'single'}"]
    with pytest.raises(UserError, match="--prior: .* no known model, did you mean 'sd-1.5'"):
        prior_overrides("sd-1.6")


def test_a_prior_selects_its_preset() -> None:
    assert preset_for(None) is preset_for("pocket") is None
    assert find_preset(preset_for("sd-1.5")).name == "stable-diffusion.yaml"
    assert find_preset(preset_for("mvdream-sd2.1")).name == "mvdream-gaussians.yaml"


def test_list_fetch_and_verify(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = write_source(SD.sources[0], tmp_path / "cache" / "sds3d" / "models" / SD.name)
    assert main(["prior", "list"]) == 0
    rows = {line.split()[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines()}
    assert rows[SD.name] == str(folder) and rows["sd-1.5"] == "-"
    assert main(["prior", "fetch", SD.name]) == 0 and capsys.readouterr().out == f"{folder}\n"
    assert main(["prior", "fetch", "sd-2.2"]) == 2 and "no known model" in capsys.readouterr().err
    assert main(["prior", "verify", SD.name]) == 2 and "no checksums for its files" in capsys.readouterr().err
    (folder / "sha256.json").write_text(f'{{"vae/config.json": "{"0" * 64}"}}')
    assert main(["prior", "verify", SD.name]) == 1
    assert capsys.readouterr().out.startswith(f"{folder / 'vae/config.json'}: damaged: expected sha256 000")
    assert main(["prior", "verify", "pocket"]) == 0 and capsys.readouterr().out.startswith("ok: 7 files of ")


@pytest.mark.parametrize("kind", [MVDreamConfig, StableDiffusionConfig])
def test_a_compiled_network_needs_a_compiler_and_pythons_headers(kind, tmp_path, monkeypatch) -> None:
    gpu(monkeypatch, free=1000 * GIB)
    folder = write_configs(tmp_path / "prior")
    cfg = replace(CFG, prior=kind(path=str(folder)))
    monkeypatch.setattr("sds3d.preflight.check.shutil.which", lambda name: None)
    assert problem(cfg).startswith("prior.compile: needs a C compiler")
    preflight(replace(cfg, prior=replace(cfg.prior, compile=False)))
    monkeypatch.setattr("sds3d.preflight.check.shutil.which", lambda name: "/usr/bin/gcc" if name == "gcc" else None)
    monkeypatch.setattr("sds3d.preflight.check.sysconfig.get_path", lambda name: str(tmp_path / "include"))
    assert "Python.h" in problem(cfg)
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "Python.h").touch()
    preflight(cfg)
