"""Single-view priors, held to diffusers: every family says what its pipeline's own call says."""

import io
import json
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sds3d.cameras import turntable
from sds3d.cli.progress import LineProgress
from sds3d.config.load import load_config
from sds3d.config.schema import StableDiffusionConfig
from sds3d.errors import UserError
from sds3d.optimization.loop import step_generator
from sds3d.priors import build_prior
from sds3d.priors.pretrained import choose_dtype
from sds3d.priors.schedule import flow_schedule, make_schedule
from sds3d.priors.stable_diffusion import HALF
from sds3d.priors.text_encoders import join_pooled, padded_ids, split_pooled
from sds3d.priors.views import VIEWS
from sds3d.representations.gaussians.splats import Gaussians
from sds3d.runs.folder import RunFolder
from tests.helpers.observer import optimize_alone
from tests.helpers.tiny_diffusers import write_clip_vocabulary, write_tiny_sd, write_tiny_sd3, write_tiny_sdxl

CPU = torch.device("cpu")
PROMPT, NEGATIVE = "a red mushroom", "blurry"
SIDES = [f"{PROMPT}, {side} view" for side in ("front", "side", "back", "overhead")]
NO_T5 = {"text_encoder_3": None, "tokenizer_3": None}
FAMILIES = ["sd", "sd-v", "sdxl", "sd3"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "sd": write_tiny_sd(root / "sd"),
        "sd-v": write_tiny_sd(root / "sd-v", "v_prediction"),
        "sdxl": write_tiny_sdxl(root / "sdxl"),
        "sd3": write_tiny_sd3(root / "sd3"),
        "sd3 without T5": write_tiny_sd3(root / "sd3-small", t5=False),
    }


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path_factory):
    """No network, and no prompts that another test has encoded."""

    def refuse(*args, **kwargs):
        raise AssertionError("something asks for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("sds3d.priors.stable_diffusion.cache_folder", lambda: cache)


def load(folder, **options):
    return build_prior(StableDiffusionConfig(path=str(folder), **options), CPU)


def pipeline(folder):
    from diffusers import DiffusionPipeline

    absent = {} if (folder / "text_encoder_3").is_dir() or "sd3" not in folder.name else NO_T5
    return DiffusionPipeline.from_pretrained(folder, low_cpu_mem_usage=False, local_files_only=True, **absent)


@torch.no_grad()
def encoded(pipe, prompt):
    """Tokens and pooled vector (None for Stable Diffusion 1 and 2) as the pipeline has them."""
    match type(pipe).__name__:
        case "StableDiffusionPipeline":
            return pipe.encode_prompt(prompt, CPU, 1, False)[0], None
        case "StableDiffusionXLPipeline":
            tokens, _, pooled, _ = pipe.encode_prompt(prompt, do_classifier_free_guidance=False)
        case "StableDiffusion3Pipeline":
            tokens, _, pooled, _ = pipe.encode_prompt(prompt, None, None, do_classifier_free_guidance=False)
    return tokens, pooled


@pytest.mark.filterwarnings("ignore:.*text_encoder_3")
@pytest.mark.parametrize("name", [*FAMILIES, "sd3 without T5"])
def test_encoded_texts_equal_those_of_the_pipeline(folders, name):
    prior, pipe = load(folders[name]), pipeline(folders[name])
    prompts = {PROMPT: prior.encode_prompt(PROMPT), NEGATIVE: prior.encode_prompt(NEGATIVE, negative=True)}
    rows = zip([*SIDES, NEGATIVE], torch.cat(list(prompts.values())), strict=True)
    for prompt, row in rows:
        tokens, pooled = encoded(pipe, prompt)
        if pooled is None:
            torch.testing.assert_close(row[None], tokens, rtol=0, atol=0)
        else:
            ours = split_pooled(row[None], pooled.shape[-1])
            torch.testing.assert_close(ours, (tokens, pooled), rtol=0, atol=0)
            assert not row[-1, pooled.shape[-1] :].any()
    assert len({row.sum().item() for row in torch.cat(list(prompts.values()))}) == 5


@pytest.mark.filterwarnings("ignore:.*text_encoder_3")
@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3 without T5"])
def test_words_of_the_view_survive_a_prompt_that_is_too_long(folders, name):
    """With letters as tokens, 75 fit; each side keeps as many words of the prompt as its own words leave room for."""
    prior, pipe = load(folders[name]), pipeline(folders[name])
    for count in (60, 64, 65, 66, 80):
        rows = prior.encode_prompt(" ".join("a" * count))
        for row, view in zip(rows, VIEWS, strict=True):
            words = min(count, 75 - len(view.replace(" ", "")))
            tokens, pooled = encoded(pipe, " ".join("a" * words) + view)
            got = row[None] if pooled is None else split_pooled(row[None], pooled.shape[-1])
            torch.testing.assert_close(got, tokens if pooled is None else (tokens, pooled), rtol=0, atol=0)
    assert len(rows.flatten(1).unique(dim=0)) == 4


def test_t5_also_keeps_the_words_of_the_view(folders):
    """256 tokens: letters, for T5 each after a mark of its word, then the end."""
    from transformers import T5TokenizerFast

    tokenizer = T5TokenizerFast.from_pretrained(folders["sd3"] / "tokenizer_3")
    view = tokenizer(VIEWS[1], add_special_tokens=False).input_ids
    for prompt in (" ".join("a" * 200), " ".join("a" * 120)):
        ids, whole = padded_ids(tokenizer, prompt, VIEWS[1], 256), tokenizer(prompt + VIEWS[1]).input_ids
        if len(whole) <= 256:
            assert ids == whole + [tokenizer.pad_token_id] * (256 - len(whole))
        else:
            assert ids == tokenizer(prompt).input_ids[: 255 - len(view)] + view + whole[-1:]


def test_the_empty_prompt_of_sdxl_is_zero_if_its_index_has_that_option(folders, tmp_path):
    pipe = pipeline(folders["sdxl"])
    tokens, negative, _, pooled = pipe.encode_prompt(PROMPT)
    row = load(folders["sdxl"]).encode_prompt("", negative=True)
    assert not negative.any() and not pooled.any() and not row.any() and row.shape[1] == tokens.shape[1] + 1
    index = json.loads((folders["sdxl"] / "model_index.json").read_text())
    folder = shutil.copytree(folders["sdxl"], tmp_path / "other")
    (folder / "model_index.json").write_text(json.dumps(index | {"force_zeros_for_empty_prompt": False}))
    row = load(folder).encode_prompt("", negative=True)
    torch.testing.assert_close(split_pooled(row, 16), encoded(pipe, ""), rtol=0, atol=0)


def test_the_pooled_vector_is_an_additional_token():
    tokens, pooled = torch.randn(5, 8), torch.randn(3)
    joined = join_pooled(tokens, pooled)[None]
    assert joined.shape == (1, 6, 8)
    for out, given in zip(split_pooled(joined, 3), (tokens, pooled), strict=True):
        assert torch.equal(out[0], given)


@torch.no_grad()
def reference_noise(pipe, noisy, t, prompt):
    """Predicted noise [1, Z, h, w] at timestep `t`, written out as in the pipeline and its scheduler's equations."""
    from diffusers import DDIMScheduler

    tokens, pooled = encoded(pipe, prompt)
    if type(pipe).__name__ == "StableDiffusion3Pipeline":
        level = (t + 0.5) / 1000
        level = 3 * level / (1 + 2 * level)  # the shift of this scheduler is 3
        alpha, sigma = ((x / (level**2 + (1 - level) ** 2) ** 0.5) for x in (1 - level, level))
        sample = noisy * (1 - level) / alpha  # (1 - level) x0 + level noise
        velocity = pipe.transformer(
            hidden_states=sample, timestep=torch.tensor([1000 * level]), encoder_hidden_states=tokens,
            pooled_projections=pooled, return_dict=False,
        )[0]  # fmt: skip
        x0 = sample - level * velocity  # what the scheduler arrives at in one step to level 0
        return (noisy - alpha * x0) / sigma
    added = None
    if pooled is not None:
        added = {"text_embeds": pooled, "time_ids": torch.tensor([[32.0, 32.0, 0.0, 0.0, 32.0, 32.0]])}
    output = pipe.unet(noisy, t, encoder_hidden_states=tokens, added_cond_kwargs=added, return_dict=False)[0]
    scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
    scheduler.set_timesteps(1000)
    x0 = scheduler.step(output, t, noisy).pred_original_sample
    alpha = scheduler.alphas_cumprod[t].sqrt()
    return (noisy - alpha * x0) / (1 - alpha**2).sqrt()


@pytest.mark.parametrize("name", FAMILIES)
def test_predicted_noise_equals_that_of_the_pipeline(folders, name):
    prior, pipe = load(folders[name]), pipeline(folders[name])
    channels = 16 if name == "sd3" else 4
    noisy = torch.randn(4, channels, 16, 16, generator=torch.Generator().manual_seed(3))
    timesteps = torch.tensor([20, 400, 700, 950])
    texts = [prior.encode_prompt(PROMPT), prior.encode_prompt(NEGATIVE, negative=True)]
    cameras = turntable(4, 32)
    with torch.no_grad():
        predicted = prior.predict_noise(noisy, timesteps, texts, cameras, torch.zeros(4, 3))
    front, side, back, _ = SIDES
    for prompts, noise in zip(([front, side, back, side], [NEGATIVE] * 4), predicted, strict=True):
        for prompt, t, sample, ours in zip(prompts, timesteps.tolist(), noisy.split(1), noise.split(1), strict=True):
            # from x0 back to noise costs the reference a few roundings of float32 over sigma, which is 0.06 at least
            torch.testing.assert_close(ours, reference_noise(pipe, sample, t, prompt), rtol=0, atol=2e-5)
    assert (predicted[0] - predicted[1]).abs().max() > 0.05  # and another text gives another prediction


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_the_noise_of_a_flow_is_exact_if_its_velocity_is(shift):
    """Data ~ N(mean, variance): both E[noise - x0] and E[noise] given the sample are known."""
    schedule, mean, variance = flow_schedule(1000, shift), 0.7, 0.5
    timesteps = torch.tensor([0, 10, 300, 600, 990, 999])
    noisy = torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    sample, network_timesteps = schedule.network_input(noisy, timesteps)
    level = (network_timesteps / 1000)[:, None, None, None]
    offset = (sample - (1 - level) * mean) / ((1 - level) ** 2 * variance + level**2)
    velocity = level * offset - (mean + (1 - level) * variance * offset)
    alphas_cumprod = schedule.alphas_cumprod[timesteps][:, None, None, None]
    alpha, sigma = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    epsilon = sigma * (noisy - alpha * mean) / (alpha**2 * variance + sigma**2)
    # sigma is the root of 1 - alpha^2, of which float32 keeps 4e-8 / (2 sigma) at its lowest, 2e-4 with shift 1
    torch.testing.assert_close(schedule.noise(velocity, noisy, timesteps), epsilon, rtol=1e-3, atol=1e-3)


def test_noise_levels_of_a_flow_equal_those_of_its_scheduler():
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    ours = flow_schedule(1000, 3.0)
    levels = scheduler.sigmas.flip(0)  # at (t + 1) / 1000, where ours are at (t + 1/2) / 1000: in between
    level = ours.network_timesteps / 1000
    assert (level < levels).all() and (level[1:] > levels[:-1]).all()
    expected = (1 - level).square() / ((1 - level).square() + level.square())
    torch.testing.assert_close(ours.alphas_cumprod, expected, rtol=0, atol=2e-7)  # float32 next to 1


def test_alpha_of_a_schedule_that_ends_in_pure_noise_is_not_zero():
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    last = make_schedule({**betas, "rescale_betas_zero_snr": True}).alphas_cumprod[-1]
    assert 0 < last < 1e-6
    plain = make_schedule(betas).alphas_cumprod
    torch.testing.assert_close(plain[[20, 500, 980]], torch.tensor([0.98131, 0.27633, 0.00584]), rtol=0, atol=5e-6)


@pytest.mark.parametrize("name", ["sd", "sd3"])
def test_latents_are_the_scaled_mode_of_the_posterior(folders, name):
    vae = pipeline(folders[name]).vae
    prior = load(folders[name])
    assert prior.resolution == 32 and prior.num_views == 1
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    shift = vae.config.shift_factor or 0.0
    with torch.no_grad():
        expected = (vae.encode(2 * images - 1).latent_dist.mode() - shift) * vae.config.scaling_factor
        decoded = (vae.decode(expected / vae.config.scaling_factor + shift).sample / 2 + 0.5).clamp(0, 1)
        latents = prior.encode_images(images)
    # the order of sums differs with the channels last
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(prior.decode_latents(expected), decoded, rtol=1e-4, atol=1e-5)


def test_images_encoded_in_batches_have_the_same_latents_and_gradients(folders):
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    weights = torch.randn(5, 4, 16, 16, generator=torch.Generator().manual_seed(5))
    results = []
    for batch in (0, 2):
        pixels = images.clone().requires_grad_()
        latents = load(folders["sd"], vae_batch=batch).encode_images(pixels)
        (latents * weights).sum().backward()
        results.append((latents.detach(), pixels.grad))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)  # convolutions sum in another order for other batches
    assert results[0][1].abs().max() > 1e-3


def assert_same(folder, other):
    """Both folders hold the same model."""
    priors = load(folder), load(other)
    texts = [prior.encode_prompt(PROMPT, negative=True) for prior in priors]
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        latents = [prior.encode_images(images) for prior in priors]
        noise = [
            prior.predict_noise(latents[0], torch.tensor([300]), [texts[0]], turntable(1, 32), torch.zeros(1, 3))[0]
            for prior in priors
        ]
    for pair in (texts, latents, noise):  # weights of other files lie at other addresses, and sums are in another order
        torch.testing.assert_close(*pair, rtol=0, atol=1e-5)


def test_files_in_older_formats_give_the_same_model(folders, tmp_path):
    """text_model. and position_ids; query, key, value and proj_attn; a tokenizer in two files; .bin; fp16 files."""
    folder = shutil.copytree(folders["sd"], tmp_path / "old")
    shutil.rmtree(folder / "tokenizer")
    (folder / "tokenizer").mkdir()
    write_clip_vocabulary(folder / "tokenizer")
    weights = load_file(folder / "text_encoder/model.safetensors")
    weights = {"text_model." + name.removeprefix("text_model."): tensor for name, tensor in weights.items()}
    weights["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    torch.save(weights, folder / "text_encoder/pytorch_model.bin")
    (folder / "text_encoder/model.safetensors").unlink()
    file = folder / "vae/diffusion_pytorch_model.safetensors"
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(file)
    for new, old in names.items():
        weights = {name.replace(f".{new}.", f".{old}."): tensor for name, tensor in weights.items()}
    torch.save(weights, file.with_suffix(".bin"))
    file.unlink()
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    (folder / "model_index.json").unlink()
    assert_same(folders["sd"], folder)


def test_weights_in_several_files_give_the_same_model(folders, tmp_path):
    folder = shutil.copytree(folders["sd"], tmp_path / "parts")
    split(folder / "unet/diffusion_pytorch_model.safetensors")
    split(folder / "text_encoder/model.safetensors")
    assert_same(folders["sd"], folder)
    index = folder / "unet/diffusion_pytorch_model.safetensors.index.json"
    (folder / "unet/part-1.safetensors").rename(tmp_path / "part-1.safetensors")
    with pytest.raises(UserError, match=r"unet/part-1.safetensors: missing, .*index.json lists it"):
        load(folder)
    index.write_text(index.read_text().replace("part-1", "../../part-1"))
    with pytest.raises(UserError, match=r"names '../../part-1.safetensors', which is no file of that folder"):
        load(folder)


def split(file: Path) -> None:
    """Two files and their index in place of one."""
    weights = load_file(file)
    parts = {name: f"part-{index % 2}.safetensors" for index, name in enumerate(weights)}
    for part in set(parts.values()):
        content = {name: tensor for name, tensor in weights.items() if parts[name] == part}
        save_file(content, file.with_name(part), {"format": "pt"})
    file.with_name(f"{file.name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": parts}))
    file.unlink()


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def drop_tensor(folder: Path) -> None:
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["conv_in.weight"]
    save_file(weights, file, {"format": "pt"})


def add_tensor(folder: Path) -> None:
    file = folder / "vae/diffusion_pytorch_model.safetensors"
    save_file(load_file(file) | {"surplus": torch.zeros(1)}, file, {"format": "pt"})


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("touched-by-a-pickle"),))


def poison(folder: Path) -> None:
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    torch.save({"conv_in.weight": Evil()}, file.with_suffix(".bin"))
    file.unlink()


BROKEN: list[tuple[str, Callable[[Path], object], str]] = [
    ("sd", lambda f: shutil.rmtree(f / "vae"), r"misses vae; download"),
    ("sdxl", lambda f: [shutil.rmtree(f / x) for x in ("text_encoder", "tokenizer")], r"misses text_encoder, token"),
    ("sd", lambda f: shutil.rmtree(f / "unet"), r"neither a unet nor a transformer folder; supported are"),
    ("sd", lambda f: (f / "unet/config.json").unlink(), r"unet/config.json: missing; download"),
    ("sd", lambda f: (f / "vae/config.json").write_text("{"), r"vae/config.json: cannot be read as JSON"),
    ("sd", lambda f: (f / "vae/config.json").write_text("[]"), r"vae/config.json: expected a JSON object, got a list"),
    ("sd", lambda f: (f / "scheduler/scheduler_config.json").unlink(), r"scheduler_config.json: missing"),
    ("sd", lambda f: (f / "unet/diffusion_pytorch_model.safetensors").unlink(), r"unet: no weights; expected"),
    ("sd", drop_tensor, r"unet: the file of weights misses 1 tensors: conv_in.weight"),
    ("sd", add_tensor, r"vae: the file of weights has 1 tensors that AutoencoderKL does not have: surplus"),
    ("sd", lambda f: edit(f / "unet/config.json", cross_attention_dim=24), r"unet: cannot be loaded as UNet2DCond"),
    ("sd", lambda f: cut(f / "unet/diffusion_pytorch_model.safetensors"), r"unet: cannot be loaded as UNet2DCond"),
    ("sd", poison, r"unet: cannot be loaded as UNet2DConditionModel"),
    ("sd", lambda f: edit(f / "unet/config.json", in_channels=9), r"unet: "),
    ("sd", lambda f: edit(f / "unet/config.json", class_embed_type="projection"), r"prior.kind=mvdream"),
    ("sd", lambda f: edit(f / "unet/config.json", addition_embed_type="image"), r"addition_embed_type 'image'; sup"),
    ("sd", lambda f: edit(f / "unet/config.json", sample_size=None), r"a whole number"),
    ("sd", lambda f: edit(f / "vae/config.json", latents_mean=[0.0] * 4), r"a mean and a standard"),
    ("sd", lambda f: edit(f / "scheduler/scheduler_config.json", prediction_type="sample"), r"expected epsilon or v"),
    ("sd", lambda f: edit(f / "scheduler/scheduler_config.json", sigma_data=0.5), r"got an EDM one"),
    ("sd", lambda f: edit(f / "scheduler/scheduler_config.json", shift=3.0), r"scheduler: is of another model"),
    ("sd3", lambda f: edit(f / "transformer/config.json", _class_name="FluxTransformer2DModel"),
     r"of class FluxTransformer2DModel, expected SD3Transformer2DModel; supported are"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "harm", "message"), BROKEN, ids=[message for _, _, message in BROKEN])
def test_missing_and_wrong_files_are_named(folders, name, harm, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(folders[name], tmp_path / "model")
    harm(folder)
    with pytest.raises(UserError, match=message) as raised:
        load(folder)
    assert "\n" not in str(raised.value) and str(folder) in str(raised.value)
    assert not (tmp_path / "touched-by-a-pickle").exists()


def test_a_damaged_text_encoder_or_tokenizer_is_named_when_a_prompt_is_read(folders, tmp_path):
    folder = shutil.copytree(folders["sd"], tmp_path / "model")
    (folder / "tokenizer/tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"model/tokenizer: no tokenizer can be read"):
        load(folder).encode_prompt(PROMPT)
    shutil.copy(folders["sd"] / "tokenizer/tokenizer.json", folder / "tokenizer")
    edit(folder / "tokenizer/tokenizer_config.json", padding_side="left")
    with pytest.raises(UserError, match=r"model/tokenizer: expected a tokenizer that pads .* on the right"):
        load(folder).encode_prompt(PROMPT)
    shutil.copy(folders["sd"] / "tokenizer/tokenizer_config.json", folder / "tokenizer")
    cut(folder / "text_encoder/model.safetensors")
    with pytest.raises(UserError, match=r"model/text_encoder: cannot be loaded as CLIPTextModel"):
        load(folder).encode_prompt(PROMPT)


def test_a_file_instead_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UserError, match=r"is a file, expected a folder; supported are"):
        load(tmp_path / "model.safetensors")


def test_a_missing_t5_is_reported(folders):
    with pytest.warns(UserWarning, match=r"text_encoder_3: missing; only the two CLIP encoders read the prompts"):
        load(folders["sd3 without T5"]).encode_prompt(PROMPT)


def test_precision_depends_on_family_device_and_config(folders):
    assert [choose_dtype("auto", "cuda", HALF[family]) for family in ("sd", "sdxl", "sd3")] == [
        torch.float16, torch.float16, torch.bfloat16,
    ]  # fmt: skip
    assert choose_dtype("auto", "cpu", torch.bfloat16) == torch.float32
    assert choose_dtype("auto", "cuda") == torch.float16
    assert choose_dtype("bfloat16", "cpu") == torch.bfloat16
    prior = load(folders["sd"], dtype="float16")
    assert prior.network.unet.dtype == torch.float16 and prior.encode_prompt(PROMPT).dtype == torch.float16
    assert prior.vae.model.dtype == torch.bfloat16  # its config has force_upcast
    assert not any(x.requires_grad for x in [*prior.network.parameters(), *prior.vae.model.parameters()])


def test_a_vae_within_the_range_of_float16_stays_in_float16(folders, tmp_path):
    folder = shutil.copytree(folders["sd"], tmp_path / "model")
    edit(folder / "vae/config.json", force_upcast=False)
    assert load(folder, dtype="float16").vae.model.dtype == torch.float16


def test_prompts_are_cached_for_each_precision(folders):
    first = load(folders["sd"]).encode_prompt(PROMPT)
    again = load(folders["sd"])
    again.texts.load = None  # not needed any more
    assert torch.equal(again.encode_prompt(PROMPT), first)
    half = load(folders["sd"], dtype="bfloat16").encode_prompt(PROMPT).float()
    assert not torch.equal(half, first.bfloat16().float()) and (half - first).abs().max() < 0.1


@pytest.mark.cuda
@pytest.mark.network
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", FAMILIES)
def test_recorded_calls_on_a_gpu_equal_calls_on_a_cpu(folders, name):
    results = []
    for device in ("cpu", "cuda"):
        cfg = StableDiffusionConfig(path=str(folders[name]), perp_neg=True, dtype="float32", compile=False)
        prior = build_prior(cfg, torch.device(device))
        texts = [prior.encode_prompt(PROMPT), prior.encode_prompt(NEGATIVE, negative=True)]
        for seed in range(2):  # the second one is a replay
            generator = torch.Generator().manual_seed(seed)
            noisy = torch.randn(4, 16 if name == "sd3" else 4, 16, 16, generator=generator).to(device)
            cameras = turntable(4, 32, start_azimuth_deg=30.0 * seed).to(device)
            timesteps = torch.tensor([20, 400, 700, 950], device=device)
            with torch.no_grad():
                predicted = prior.predict_noise(noisy, timesteps, texts, cameras, torch.zeros(4, 3, device=device))
            results.append(torch.stack(predicted).cpu())
    for on_cpu, on_gpu in zip(results[:2], results[2:], strict=True):
        assert (on_cpu - on_gpu).norm() < 5e-3 * on_cpu.norm()  # a GPU may convolve in TF32, which has 10 bits


@pytest.mark.parametrize("name", ["sd", "sd3"])
def test_the_loop_runs_with_stable_diffusion(name, folders, tmp_path):
    stage = "{name: only, steps: 4, prior_every: 2, num_orbits: 2, resolution: 32, estimator: {kind: sds}}"
    settings = ["device=cpu", "prior.kind=stable-diffusion", f"prior.path={folders[name]}", "prior.perp_neg=true"]
    settings += [f"out={tmp_path}", f"stages=[{stage}]", "representation.num_init=60"]
    made = load_config(None, settings, PROMPT)
    assert made.prior == replace(made.prior, kind="stable-diffusion", perp_neg=True)
    result = optimize_alone(made, RunFolder.create(made), LineProgress(io.StringIO(), every=0))
    assert result.finished and result.step == 4
    start = Gaussians.random_ball(made.representation, step_generator(made.seed, "init", 0))
    for key, tensor in result.scene.gaussians.tensors().items():
        assert torch.isfinite(tensor).all() and not torch.equal(tensor.cpu(), start.tensors()[key])
