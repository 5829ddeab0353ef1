"""Configs: valid ones survive dump and load, errors are named, and text is never evaluated."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import pytest
from omegaconf import OmegaConf

from sds3d.config import load as settings
from sds3d.config import schema
from sds3d.config.checks import field_types
from sds3d.config.load import dump_config, find_preset, from_mapping, load_config
from sds3d.config.ramp import Ramp
from sds3d.config.schema import Config, MVDreamConfig, PocketConfig, StageConfig
from sds3d.errors import MAX_MESSAGE, UserError
from tests.helpers.hostile import HOSTILE

PROMPT = "a red mushroom"
PRESETS = ["asset", "mvdream-gaussians", "mvdream-sd-texture", "quality", "smoke", "stable-diffusion"]
CONFIGS = [cls for cls in vars(schema).values() if isinstance(cls, type) and cls.__module__ == schema.__name__]


def problem(*overrides: str, preset: Path | None = None, prompt: str | None = PROMPT) -> str:
    with pytest.raises(UserError) as caught:
        load_config(preset, list(overrides), prompt)
    return str(caught.value)


def test_the_defaults_are_those_of_the_dataclasses() -> None:
    assert load_config(None, [], PROMPT) == Config(prompt=PROMPT)


@pytest.mark.parametrize("cls", CONFIGS)
def test_every_number_has_a_range_that_contains_its_default(cls: type) -> None:
    """The range of a Ramp is that of its field."""
    for name, value in vars(cls()).items():
        values = (value.start, value.end) if isinstance(value, Ramp) else value if isinstance(value, tuple) else [value]
        if type(values[0]) in (int, float):
            _, limits = get_args(field_types(cls)[name])
            assert all(number in limits for number in values), name


@pytest.mark.parametrize("preset", PRESETS)
def test_all_presets_load(preset: str) -> None:
    by_name = load_config(Path(preset), [], PROMPT)
    assert by_name == load_config(find_preset(Path(preset)), [], PROMPT)
    assert (by_name == Config(prompt=PROMPT)) == (preset == "asset")


def test_overrides_set_every_type_of_field() -> None:
    cfg = load_config(
        None,
        ["seed=7", "stages.0.steps=1e2", "stages.0.t_min.end=5e-2", "stages.0.cameras.elevation_deg=[-10, 20]",
         "representation.lr_means={start: 0.1, end: 0.2}", "renderer.backend=torch", "negative_prompt=true"],
        PROMPT,
    )  # fmt: skip
    stage = cfg.stages[0]
    assert (cfg.seed, stage.steps, stage.cameras.elevation_deg) == (7, 100, (-10.0, 20.0))
    assert stage.t_min == replace(StageConfig().t_min, end=0.05)
    assert cfg.representation.lr_means == Ramp(0.1, 0.2)
    assert (cfg.renderer.backend, cfg.negative_prompt) == ("torch", "true")
    assert isinstance(stage.steps, int) and isinstance(stage.cameras.elevation_deg[0], float)


def test_stages_in_a_file_have_defaults_for_omitted_keys(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text("stages:\n- {name: a, steps: 3, t_min: {end: 0.1}}\n- name: b\n  loss: {opaque: 1}\n")
    cfg = load_config(path, ["stages.1.steps=5"], PROMPT)
    first = replace(StageConfig(), name="a", steps=3, t_min=replace(StageConfig().t_min, end=0.1))
    assert cfg.stages[0] == first
    assert (cfg.stages[1].name, cfg.stages[1].steps, cfg.stages[1].loss.opaque) == ("b", 5, 1.0)


@pytest.mark.parametrize("prompt", HOSTILE)
def test_any_text_survives_dump_and_load(prompt: str, tmp_path: Path) -> None:
    cfg = load_config(Path("smoke"), [f"negative_prompt={prompt}", "stages.0.t_max.end=0.8987654321"], prompt)
    assert (cfg.prompt, cfg.negative_prompt) == (prompt, prompt)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(cfg))
    assert load_config(path, [], None) == cfg


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "${seed}", "${spy:}", "${", "\\${seed}", "a ${x:${y}} b", "???"])
def test_text_is_never_interpolated(text: str, tmp_path: Path) -> None:
    """On the command line, in an override and in a file; alone, in a list, and instead of a number."""
    path = tmp_path / "text.yaml"
    path.write_text(json.dumps({"prompt": text, "negative_prompt": text, "out": text, "prior": {"path": text}}))
    OmegaConf.register_resolver("spy", lambda: pytest.fail("a resolver ran"))
    try:
        from_file = load_config(path, [], None)
        from_words = load_config(None, [f"negative_prompt={text}", f"out={text}", f"prior.path={text}"], text)
        for word in (text, json.dumps(text)):
            assert "seed: expected a whole number, got " in problem(f"seed={word}")
        assert f"stages.0.name: expected 1 to 32 of a-z 0-9 _ -, got {json.dumps(text)}" in problem(
            f"stages=[{{name: {json.dumps(text)}}}]"
        )
        assert "unknown key" in problem(f"{text}=1")
    finally:
        OmegaConf.clear_resolver("spy")
    assert from_file == Config(prompt=text, negative_prompt=text, out=text, prior=PocketConfig(path=text))
    assert from_words == from_file
    assert dump_config(from_file).count(text) == 4


@pytest.mark.parametrize("prompt", ["", "  \u3000 "])
def test_an_empty_prompt_is_rejected(prompt: str) -> None:
    assert "the prompt is empty" in problem(prompt=prompt)
    assert "the prompt is empty" in problem(prompt=None)


def test_prompt_limits() -> None:
    assert load_config(None, [], "  x" + "y" * 599 + " \n").prompt == "x" + "y" * 599
    assert "601 characters, at most 600" in problem(prompt="x" * 601)
    assert "U+0000" in problem(prompt="a\0b")
    assert "U+001B" in problem(prompt="a\x1b[2Jb")
    assert "U+000A" in problem(prompt="a\nb")
    assert "not valid Unicode" in problem(prompt="a\udcffb")
    assert "negative_prompt: 601 characters" in problem("negative_prompt=" + "x" * 601)


def test_errors_of_unknown_keys_suggest_the_known_key() -> None:
    assert problem("sed=1") == "sed: unknown key, did you mean 'seed'?"
    assert problem("stages.0.stepz=1") == "stages.0.stepz: unknown key, did you mean 'steps'?"
    assert problem("mesh.zzz=1").startswith("mesh.zzz: unknown key; known: grid, faces")
    assert "did you mean 'cuda'?" in problem("device=cdua")
    assert problem("seed.x=1") == "seed.x: seed is one value and has no keys"
    assert problem("stages.3.steps=1") == "stages.3.steps: expected an index from 0 to 2, got 3"
    assert problem("stages.x=1") == "stages.x: no such key; list items have indexes such as stages.0"
    assert "expected names and indexes" in problem("stages[0].steps=1")
    assert "expected names and indexes" in problem(".".join("a" * 2000) + "=1")
    assert "did you mean 'smoke'?" in problem(preset=Path("smok"))
    assert "expected key=value" in problem("mushroom")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=x", 'seed: expected a whole number, got "x"'),
        ("seed=1.5", "seed: expected a whole number, got 1.5"),
        pytest.param("seed=" + "9" * 400, "seed: expected a whole number, got " + "9" * 57 + "...", id="seed=9..."),
        ("seed=true", "seed: expected a whole number, got true"),
        ("seed=", "seed: expected a whole number, got null"),
        ("representation.lr_colors=.nan", "representation.lr_colors: expected a number, got NaN"),
        ("mesh=3", "mesh: expected the keys of grid, faces, texture_size, bake_views and bake_resolution, got 3"),
        ("stages=3", "stages: expected a list such as [1, 2], got 3"),
        ("stages.0.cameras.fov_deg=[1]", "stages.0.cameras.fov_deg: expected 2 values, got 1"),
        ("renderer.backend=off", "renderer.backend: expected auto, native, gsplat or torch, got false"),
    ],
)
def test_errors_of_wrong_types(override: str, expected: str) -> None:
    assert problem(override) == expected


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=-1", "-1 is out of range: at least 0"),
        ("stages.0.steps=0", "0 is out of range: at least 1 and"),
        ("stages.0.resolution=100", "100 is out of range: a multiple of 16, at least 16 and at most 1024"),
        ("stages.0.resolution=2048", "2048 is out of range"),
        ("mesh.faces=99", "99 is out of range: at least 100 and at most 1000000"),
        ("representation.init_opacity=1", "1 is out of range: more than 0 and less than 1"),
        ("representation.densify_until=1.01", "at least 0 and at most 1"),
        ("stages.0.t_max.start=1.2", "stages.0.t_max.start: 1.2 is out of range: at least 0 and at most 1"),
        ("stages.0.t_max.over=0", "stages.0.t_max.over: 0 is out of range: more than 0 and at most 1"),
        ("stages.0.cameras.fov_deg=[0, 40]", "stages.0.cameras.fov_deg.0: 0 is out of range"),
        ("checkpoint.keep=1", "1 is out of range: at least 2"),
        ("stages.1.t_min.start=0.99", "stages.1.t_min.start: 0.99 is above t_max.start, 0.97"),
        ("stages.0.cameras.fov_deg=[50, 40]", "expected [lowest, highest]"),
        ("representation.max_gaussians=10", "10 is less than num_init"),
        ("stages=[]", "stages: empty"),
        ("stages=[{}, {}]", "stages.1.name"),
        ("stages.0.name=../x", "stages.0.name: expected 1 to 32"),
        ("out=", "out: expected the path of a folder"),
    ],
)
def test_errors_of_numbers_out_of_range(override: str, expected: str) -> None:
    assert expected in problem(override)


def test_all_problems_are_reported_at_once_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("seed: 1\nmesh:\n  face: 5\n  grid: x\nstages:\n- steps: 0\n")
    text = problem("checkpoint.keep=0", preset=path)
    assert f"{path}:3: mesh.face: unknown key, did you mean 'faces'?" in text
    assert f'{path}:4: mesh.grid: expected a whole number, got "x"' in text
    assert f"{path}:6: stages.0.steps: 0 is out of range" in text
    assert "; checkpoint.keep: 0 is out of range" in text


def test_an_error_in_an_override_does_not_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text("seed: 1\nmesh:\n  grid: 64\n  faces: x\n")
    assert problem("mesh.faces=y", preset=path) == 'mesh.faces: expected a whole number, got "y"'
    assert load_config(path, ["mesh.faces=100"], PROMPT).mesh.faces == 100


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: [", "not valid YAML"),
        (b"- 1", "expected keys and values"),
        (b"seed: 1\nseed: 2", ":2: not valid YAML: the key \"seed\" appears twice"),
        (b"a: &x [1]\nb: *x", "aliases"),
        (b"a: !!python/object/apply:os.system ['touch x']", "are not allowed"),
        (b"seed: !!int x", "not valid YAML"),
        (b"prompt: \xff", "not UTF-8"),
        (b"prompt: true", "prompt: expected text, got true; put it in quotes"),
        (b"[" * 3000, "nested too deeply"),
        (b"stages: " + b"[" * 40 + b"]" * 40, "nested too deeply"),
        (b"seed: " + b"1" * 5000, "not valid YAML"),
        (b"mesh: [1]", ":1: mesh: expected the keys of"),
        (b"stages: {9: {steps: 1}}", ":1: stages.9.steps: expected an index from 0 to 2, got 9"),
        (b"mesh: &m {grid: 64}\npreview: {<<: *m}", "aliases"),
        (b"stages: [" + b"1," * 20000 + b"]", "more than 10000 values"),
        (b"#" * (1 << 20) + b"#", "no config: expected at most 1,048,576 bytes, got 1,048,577"),
        (b"", "the file is empty"),
        (b"? [a]\n: 1", "not valid YAML"),
        (b"seed: 2001-99-99", "not valid YAML"),
        (b"seed: 1:30", ':1: seed: expected a whole number, got "1:30"'),
        pytest.param(b"seed: " + b"1:" * 500_000 + b"1", ':1: seed: expected a whole number, got "1:1:', id="base 60"),
        pytest.param(b"seed: 0x" + b"f" * 900_000, "not valid YAML: a number of 900002 characters", id="hexadecimal"),
        pytest.param(b"seed: " + b"1" * 500_000 + b".5", "not valid YAML: a number of 500002 characters", id="digits"),
    ],
)  # fmt: skip
def test_errors_of_unreadable_files(content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    assert expected in problem(preset=path, prompt=None if b"prompt" in content else PROMPT)


def test_a_config_is_a_small_regular_file(tmp_path: Path) -> None:
    sparse, pipe = tmp_path / "sparse.yaml", tmp_path / "pipe.yaml"
    with sparse.open("wb") as file:
        file.truncate(60_000_000_000)
    os.mkfifo(pipe)
    assert problem(preset=sparse) == f"{sparse}: no config: expected at most 1,048,576 bytes, got 60,000,000,000"
    for path in (pipe, Path("/dev/zero")):
        assert problem(preset=path) == f"{path}: no config: is not a regular file"


@pytest.mark.parametrize("name", ["/proc/kmsg", "/proc/self/environ"])
def test_system_files_are_not_read_as_configs(name: str) -> None:
    if os.access(name, os.R_OK):
        assert problem(preset=Path(name)).startswith(f"{name}: ")


@pytest.mark.parametrize("text", ["1:30", "1:" * 50_000 + "1", "0x" + "f" * 50_000])
def test_only_plain_numbers_are_numbers_in_an_override(text: str) -> None:
    assert problem(f"seed={text}").startswith(f'seed: expected a whole number, got "{text[:40]}')


def test_a_thousand_problems_make_one_short_message(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("".join(f"k{index}: 1\n" for index in range(4900)))
    text = problem(preset=path)
    assert text.startswith(f"{path}:1: k0: unknown key; known: ") and f"{path}:4900: k4899: unknown key" in text
    assert len(text) <= MAX_MESSAGE


def test_errors_of_missing_files_and_presets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "no such file" in problem(preset=Path("/nowhere/x.yaml"))
    assert problem(preset=Path("xyz")) == f"config xyz: no such file; presets: {', '.join(PRESETS)}"
    monkeypatch.setattr(settings, "PRESET_FOLDERS", (tmp_path,))
    assert problem(preset=Path("smoke")) == f"no presets in {tmp_path}; install sds3d again"


def test_kind_selects_the_class() -> None:
    @dataclass(frozen=True)
    class Square:
        kind: Literal["square"] = "square"
        side: float = 1.0

    @dataclass(frozen=True)
    class Disc:
        kind: Literal["disc"] = "disc"
        radius: float = 1.0

    hints = {"shape": Square | Disc}
    Drawing = dataclass(frozen=True)(type("Drawing", (), {"__annotations__": hints, "shape": Square()}))
    assert from_mapping(Drawing, {"shape": {"kind": "disc", "radius": 2}}).shape == Disc(radius=2.0)
    assert from_mapping(Drawing, {"shape": {"side": 2}}).shape == Square(side=2.0)
    with pytest.raises(UserError, match="shape.side: unknown key"):
        from_mapping(Drawing, {"shape": {"kind": "disc", "side": 2}})
    with pytest.raises(UserError, match="shape.kind: expected square or disc, got \"dics\", did you mean 'disc'"):
        from_mapping(Drawing, {"shape": {"kind": "dics"}})


def test_another_kind_discards_the_options_of_the_previous_kind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @dataclass(frozen=True)
    class Thin:
        kind: Literal["thin"] = "thin"
        width: int = 1

    @dataclass(frozen=True)
    class Thick:
        kind: Literal["thick"] = "thick"
        width: int = 9

    @dataclass(frozen=True)
    class Square:
        kind: Literal["square"] = "square"
        side: int = 1
        line: Thin | Thick = Thin()

    @dataclass(frozen=True)
    class Disc:
        kind: Literal["disc"] = "disc"
        line: Thin | Thick = Thin()

    hints = {"prompt": str, "negative_prompt": str, "shape": Square | Disc}
    values = {"__annotations__": hints, "prompt": "", "negative_prompt": "", "shape": Square()}
    Drawing = dataclass(frozen=True)(type("Drawing", (), values))
    monkeypatch.setattr(settings, "Config", Drawing)
    monkeypatch.setattr(settings, "check_config", lambda cfg: [])
    path = tmp_path / "drawing.yaml"
    path.write_text("shape: {side: 2, line: {width: 4, kind: thick}}")
    assert load_config(path, [], None).shape == Square(side=2, line=Thick(width=4))
    assert load_config(path, ["shape.kind=square"], None) == load_config(path, [], None)
    assert load_config(path, ["shape.kind=disc"], None).shape == Disc()
    assert load_config(path, ["shape.line.width=3", "shape.line.kind=thick", "shape.kind=disc"], None).shape == Disc(
        line=Thick(width=3)
    )
    assert problem("shape.side=3", "shape.kind=disc") == "shape.side: unknown key; known: kind, line"


def test_loading_a_config_does_not_import_torch() -> None:
    code = "import sys, sds3d.config.load, sds3d.runs.folder; "
    code += "assert not {'torch', 'yaml', 'omegaconf'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_stage_without_a_prior_has_that_of_the_run(tmp_path: Path) -> None:
    cfg = load_config(None, ["stages.1.prior.kind=mvdream", "stages.1.prior.path=a"], "x")
    assert [stage.prior for stage in cfg.stages] == [None, MVDreamConfig(path="a"), None]
    assert [cfg.prior_of(stage) for stage in cfg.stages] == [cfg.prior, cfg.stages[1].prior, cfg.prior]
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(cfg))
    assert load_config(path, [], None) == cfg
    assert load_config(path, ["stages.1.prior=null"], None).stages[1].prior is None


@pytest.mark.parametrize("override", ["stages.0.prior.kind=run", "stages.0.prior={kind: run}", "prior=null"])
def test_a_prior_has_one_of_three_kinds(override: str) -> None:
    with pytest.raises(UserError, match="prior.kind: expected pocket, mvdream or stable-diffusion, got"):
        load_config(None, [override], "x")
