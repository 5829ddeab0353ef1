"""The properties of a prior before it is built are in one file and do not need torch."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import sds3d
from sds3d.config.load import find_preset, load_config
from sds3d.config.schema import Config, MVDreamConfig, PocketConfig, PriorConfig, StableDiffusionConfig, StageConfig
from sds3d.errors import UserError
from sds3d.priors.kinds import find_priors, kind_of, named_priors, prior_ids
from sds3d.priors.weights import POCKET, content_id

KINDS = get_args(PriorConfig)


def test_only_priors_and_config_name_the_kinds() -> None:
    package = Path(sds3d.__file__).parent
    naming = {
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        if any(cls.__name__ in path.read_text() for cls in KINDS)
    }
    assert naming == {"config", "priors"}


@pytest.mark.parametrize("cls", KINDS)
def test_presets_of_a_kind_exist_and_have_that_kind(cls: type) -> None:
    kind = kind_of(cls())
    if kind.preset is not None:
        assert isinstance(load_config(Path(kind.preset), [], "x").prior, cls)
    if kind.longer_preset is not None:
        assert find_preset(Path(kind.longer_preset)).is_file()


def test_properties_of_each_kind() -> None:
    pocket, mvdream, stable = (kind_of(cls()) for cls in KINDS)
    assert (pocket.small, mvdream.small, stable.small) == (True, False, False)
    assert (pocket.compiles, mvdream.compiles, stable.compiles) == (False, True, True)
    assert (
        not kind_of(MVDreamConfig(compile=False)).compiles
        and not kind_of(StableDiffusionConfig(compile=False)).compiles
    )
    assert [kind.extra_rows for kind in (pocket, mvdream, stable)] == [0, 0, 0]
    assert kind_of(StableDiffusionConfig(perp_neg=True)).extra_rows == 2
    assert "dtype" not in pocket.remedy and "dtype" in mvdream.remedy and "dtype" in stable.remedy
    assert pocket.unseen_words("a crimson chair") == ["crimson"] and stable.unseen_words("a crimson chair") == []


def test_each_stage_has_the_id_of_its_weights() -> None:
    stages = (StageConfig(name="a"), StageConfig(name="b", prior=PocketConfig(path=str(POCKET))))
    cfg = Config(prompt="x", stages=stages)
    assert named_priors(cfg) == {cfg.prior: "prior.path", stages[1].prior: "stages.1.prior.path"}
    found = find_priors(cfg)
    assert {each.path for each in found.values()} == {POCKET}
    assert prior_ids(cfg) == prior_ids(cfg, found) == [content_id(POCKET)] * 2


def test_a_folder_without_a_manifest_is_not_a_pocket_prior(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sha256.json: cannot be read .*; make it again with `sds3d prior train`"):
        kind_of(PocketConfig(path=str(tmp_path))).find("prior.path")


def test_properties_of_a_kind_do_not_import_torch() -> None:
    code = "import sys; from sds3d.config.schema import *; from sds3d.priors.kinds import *; "
    code += "[kind_of(cls()) for cls in (PocketConfig, MVDreamConfig, StableDiffusionConfig)]; "
    code += "find_priors(Config()); assert not {'torch', 'diffusers', 'huggingface_hub'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
