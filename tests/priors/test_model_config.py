"""Every field that is read of a model's JSON configs is checked: nonsense is refused in one line that names it."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel, UNet2DConditionModel

from sds3d.config.schema import MVDreamConfig, StableDiffusionConfig
from sds3d.errors import UserError
from sds3d.priors import ldm
from sds3d.priors.blueprint import NETWORKS, VAE, VAE_SD3, latent_blueprint
from sds3d.priors.checkpoints import Section
from sds3d.priors.convert import convert
from sds3d.priors.model_config import check_autoencoder, check_network, check_text_encoder
from sds3d.priors.mvdream.files import open_mvdream
from sds3d.priors.mvdream.prior import load_mvdream
from sds3d.priors.schedule import make_schedule
from sds3d.priors.stable_diffusion import load_stable_diffusion
from sds3d.priors.weights import Found
from tests.helpers.tiny_diffusers import write_tiny_sd, write_tiny_sdxl
from tests.helpers.tiny_mvdream import make_tiny_mvdream, write_layout

CPU = torch.device("cpu")
NONSENSE = ("x", [None], {})
UNET, TEXT, SCHEDULER = "unet/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json"
AUTOENCODER = "vae/config.json"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    convert(write_layout(make_tiny_mvdream("sd2"), "pt", root / "original"), root / "mvdream", torch.float32)
    (root / "mvdream" / "sha256.json").unlink()
    return {"mvdream": root / "mvdream", "sd": write_tiny_sd(root / "sd"), "sdxl": write_tiny_sdxl(root / "sdxl")}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def load(folder: Path) -> None:
    """Loads the prior and its text encoder."""
    found = Found(folder, "id")
    if folder.name == "mvdream":
        load_mvdream(MVDreamConfig(path=str(folder)), found, CPU).encode_prompt("a cat")
    else:
        load_stable_diffusion(StableDiffusionConfig(path=str(folder)), found, CPU).encode_prompt("a cat")


def refusal(folder: Path, file: str, changes: dict) -> str:
    """The message for `folder` with other fields in one of its JSON files, which it has back afterwards."""
    path = folder / file
    before = path.read_text()
    try:
        path.write_text(json.dumps(json.loads(before) | changes))
        with pytest.raises(UserError) as raised:
            load(folder)
    finally:
        path.write_text(before)
    message = str(raised.value)
    assert "\n" not in message and len(message) < 700 and str(folder) in message
    return message.replace(str(folder), "FOLDER")


SCHEDULES = [
    ({"prediction_type": "sample"}, 'prediction_type: expected epsilon or v_prediction, got "sample"'),
    ({"prediction_type": None}, "prediction_type: expected epsilon or v_prediction, got null"),
    ({"num_train_timesteps": "many"}, 'num_train_timesteps: expected a whole number from 2 to 100000, got "many"'),
    ({"num_train_timesteps": 0}, "num_train_timesteps: expected a whole number from 2 to 100000, got 0"),
    ({"num_train_timesteps": 10**12}, "num_train_timesteps: expected a whole number"),
    ({"beta_start": "x"}, 'beta_start: expected a number from 0 to 1, got "x"'),
    ({"beta_end": float("nan")}, "beta_end: expected a number from 0 to 1, got NaN"),
    ({"beta_end": 7}, "beta_end: expected a number from 0 to 1, got 7"),
    ({"beta_start": 0.0, "beta_end": 0.0}, "its betas give no noise levels that increase with the timestep"),
    ({"beta_schedule": "sigmoid"}, "beta_schedule: expected linear or scaled_linear or squaredcos_cap_v2, got"),
    ({"beta_schedule": ["linear"]}, "beta_schedule: expected linear or"),
    ({"trained_betas": [0.1, 0.2]}, "trained_betas: expected 1000 numbers, got [0.1, 0.2]"),
    ({"trained_betas": ["x"] * 1000}, 'trained_betas: expected a number from 0 to 1, got "x"'),
    ({"rescale_betas_zero_snr": "no"}, 'rescale_betas_zero_snr: expected true or false, got "no"'),
    ({"sigma_data": 0.5}, "expected epsilon, v_prediction or a flow with a shift, got an EDM one"),
]


@pytest.mark.parametrize(("changes", "message"), SCHEDULES)
@pytest.mark.parametrize("name", ["mvdream", "sd"])
def test_a_schedule_is_refused(folders, name, changes, message):
    assert f"FOLDER/{SCHEDULER}: {message}" in refusal(folders[name], SCHEDULER, changes)


@pytest.mark.parametrize("shift", [3.0, "x", 0, None])
def test_a_flow_is_no_schedule_of_mvdream(folders, shift):
    assert f"FOLDER/{SCHEDULER}: shift: expected" in refusal(folders["mvdream"], SCHEDULER, {"shift": shift})


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        (AUTOENCODER, {"scaling_factor": "x"}, 'scaling_factor: expected a number from 1e-06 to 1e+06, got "x"'),
        (AUTOENCODER, {"scaling_factor": 0}, "scaling_factor: expected a number from 1e-06 to 1e+06, got 0"),
        (
            AUTOENCODER,
            {"scaling_factor": float("inf")},
            "scaling_factor: expected a number from 1e-06 to 1e+06, got Inf",
        ),
        (AUTOENCODER, {"shift_factor": "x"}, 'shift_factor: expected a number from -1e+06 to 1e+06, got "x"'),
        (AUTOENCODER, {"force_upcast": "x"}, 'force_upcast: expected true or false, got "x"'),
        (AUTOENCODER, {"latents_mean": [0.0]}, "latents with a mean and a standard deviation"),
        (AUTOENCODER, {"norm_num_groups": "x"}, 'norm_num_groups: expected a number, got "x"'),
        (AUTOENCODER, {"layers_per_block": 10**9}, "layers_per_block: expected 1 to 1000 layers, got 1000000000"),
        (UNET, {"sample_size": "large"}, 'sample_size: expected a whole number from 1 to 1024, got "large"'),
        (UNET, {"norm_eps": "x"}, 'norm_eps: expected a number, got "x"'),
        (UNET, {"flip_sin_to_cos": "x"}, 'flip_sin_to_cos: expected true or false, got "x"'),
        (UNET, {"act_fn": 3}, "act_fn: expected a text such as 'silu', got 3"),
        (UNET, {"block_out_channels": 64}, "block_out_channels: expected a list, got 64"),
        (UNET, {"layers_per_block": 10**9}, "layers_per_block: expected 1 to 1000 layers"),
        (TEXT, {"layer_norm_eps": "x"}, 'layer_norm_eps: expected a number from 0 to 1, got "x"'),
        (TEXT, {"num_hidden_layers": 10**9}, "num_hidden_layers: expected 1 to 1000 layers"),
        (TEXT, {"vocab_size": "x"}, 'vocab_size: expected a whole number from 1 to 10000000, got "x"'),
    ],
)
@pytest.mark.parametrize("name", ["mvdream", "sd"])
def test_a_field_of_a_network_is_refused(folders, name, file, changes, message):
    assert f"FOLDER/{file}: {message}" in refusal(folders[name], file, changes)


@pytest.mark.parametrize("value", ["no", 0, []])
def test_a_flag_of_the_index_is_refused(folders, value):
    changes = {"force_zeros_for_empty_prompt": value}
    message = f"FOLDER/model_index.json: force_zeros_for_empty_prompt: expected true or false, got {json.dumps(value)}"
    assert message in refusal(folders["sdxl"], "model_index.json", changes)


def test_parts_of_different_multi_view_models_are_refused(folders):
    message = refusal(folders["mvdream"], UNET, {"cross_attention_dim": 32})
    assert (
        "expected a U-Net for the 4 channels of its autoencoder and texts of width 64, got one for 4 and 32" in message
    )


def test_an_estimate_refuses_the_same_configs(folders):
    for file, changes in ((UNET, {"norm_eps": "x"}), (UNET, {"sample_size": "x"}), (AUTOENCODER, {"act_fn": "x"})):
        path = folders["sd"] / file
        before = path.read_text()
        path.write_text(json.dumps(json.loads(before) | changes))
        with pytest.raises(UserError):
            latent_blueprint(str(folders["sd"]), "auto", 0, "cpu", num_views=1, float32_text=False)
        path.write_text(before)


@pytest.mark.parametrize("cls", [UNet2DConditionModel, AutoencoderKL, SD3Transformer2DModel])
def test_configs_as_published_pass_and_each_field_is_checked(cls):
    published = {
        UNet2DConditionModel: [x for x in NETWORKS.values() if "_class_name" not in x],
        AutoencoderKL: [VAE, VAE_SD3],
        SD3Transformer2DModel: [NETWORKS["sd3.5-medium"]],
    }[cls]
    for config in published:
        check_network(cls, config, Path("config.json"))
    with torch.device("meta"):
        config = dict(cls().config)
    for name, value in config.items():
        typed = isinstance(value, int | float | str | tuple) and not name.startswith("_")
        for nonsense in NONSENSE if typed and name != "sample_size" else ():
            if isinstance(value, str | tuple) and isinstance(nonsense, str if isinstance(value, str) else list):
                continue  # of the right type; the classes themselves refuse the value
            with pytest.raises(UserError, match=f"config.json: {name}: expected"):
                check_network(cls, config | {name: nonsense}, Path("config.json"))


def test_checkpoints_in_half_precision_have_the_noise_levels_of_the_training(tmp_path):
    """bfloat16 rounds off up to 0.002 of a number below 1; other schedules differ by 0.03 at least."""
    levels = make_schedule(ldm.SCHEDULE).alphas_cumprod
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for stored in (levels.to(dtype), levels.to(dtype).float()):  # also if another program converted it back
            ldm.check_schedule(Section({"alphas_cumprod": stored}, "", tmp_path))
    for other in ({"rescale_betas_zero_snr": True}, {"beta_schedule": "linear"}, {"beta_end": 0.0125}):
        given = make_schedule(ldm.SCHEDULE | other).alphas_cumprod
        with pytest.raises(UserError, match="alphas_cumprod: expected 1000 noise levels"):
            ldm.check_schedule(Section({"alphas_cumprod": given.bfloat16()}, "", tmp_path))


def test_a_whole_checkpoint_in_bfloat16_opens(tmp_path):
    tiny = make_tiny_mvdream("sd2")
    write_layout(tiny, "pt", tmp_path / "o")
    torch.save({name: x.bfloat16() for name, x in tiny.state.items()}, tmp_path / "o" / "model.pt")
    assert open_mvdream(tmp_path / "o" / "model.pt").unet.config["cross_attention_dim"] == 64


def test_checks_accept_what_is_absent_or_null():
    for config in ({}, {"scaling_factor": None, "shift_factor": None, "force_upcast": None, "latents_mean": None}):
        check_autoencoder(config, Path("config.json"))
        check_text_encoder(config, Path("config.json"))
