"""MVDream: networks of diffusers, loaded from any layout, equal the original networks."""

import json
import math
import re
import resource
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sds3d.cameras import orbit_cameras, pose_vectors, turntable
from sds3d.config.schema import MVDreamConfig
from sds3d.errors import UserError
from sds3d.priors import convert, known, ldm
from sds3d.priors.checkpoints import Section, build
from sds3d.priors.clip_tokenizer import clean_text, read_tokenizer, tokenize
from sds3d.priors.mvdream.files import open_mvdream
from sds3d.priors.mvdream.prior import MultiViewUNet, load_mvdream
from sds3d.priors.weights import Found, content_id, verify
from tests.helpers import ldm_modules
from tests.helpers.hostile import HOSTILE
from tests.helpers.tiny_mvdream import END, LAYOUTS, NUM_WORDS, START, make_tiny_mvdream, write_layout, write_tokenizer

CPU = torch.device("cpu")
PROMPTS = ("a red cat", "")
# Angles in degrees: azimuths of two orbits of four views, one elevation each
AZIMUTHS = [10.0, 100.0, 190.0, 280.0, 55.0, 145.0, 235.0, 325.0]
ELEVATIONS = [15.0] * 4 + [-20.0] * 4
# The same float32 sums in another order: 100 times the spacing of float32 at 1
EXACT = {"rtol": 0.0, "atol": 1e-5}


@pytest.fixture(scope="module", params=["sd2", "sd1"])
def tiny(request):
    return make_tiny_mvdream(request.param)


@pytest.fixture(scope="module")
def layouts(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp(tiny.version)
    return {layout: write_layout(tiny, layout, folder / layout) for layout in LAYOUTS}


@pytest.fixture(scope="module")
def sd2(tmp_path_factory):
    """An original checkpoint of Stable Diffusion 2 and its path."""
    tiny = make_tiny_mvdream("sd2")
    return tiny, write_layout(tiny, "pt", tmp_path_factory.mktemp("original") / "pt")


@pytest.fixture
def folder(sd2, tmp_path):
    """The same, converted and without checksums, so that tests can damage it."""
    convert.convert(sd2[1], tmp_path / "folder", torch.float32)
    (tmp_path / "folder" / "sha256.json").unlink()
    return tmp_path / "folder"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def load(path, **options):
    return load_mvdream(MVDreamConfig(path=str(path), **options), Found(path, content_id(path)), CPU)


def cameras():
    azimuths, elevations = (torch.deg2rad(torch.tensor(x)) for x in (AZIMUTHS, ELEVATIONS))
    return orbit_cameras(azimuths, elevations, torch.full((8,), 2.7), math.radians(40), 64)


def original_camera(elevation_deg, azimuth_deg):
    """16 numbers as MVDream's authors make them: a matrix of a y-up world, turned z-up.

    Their azimuth 0 looks along -z from +z, ours along -x from +x: theirs is 90 degrees more.
    """
    elevation, azimuth = math.radians(elevation_deg), math.radians(azimuth_deg + 90)
    position = torch.tensor([
        math.cos(elevation) * math.sin(azimuth), math.sin(elevation), math.cos(elevation) * math.cos(azimuth)
    ])  # fmt: skip
    right = torch.nn.functional.normalize(torch.linalg.cross(-position, torch.tensor([0.0, 1.0, 0.0])), dim=0)
    matrix = torch.eye(4)
    matrix[:3] = torch.stack([right, torch.linalg.cross(right, -position), position, position], 1)
    x, y, z, last = matrix
    return torch.stack([x, -z, y, last]).flatten()


def original_tokens(tiny, folder, prompt):
    """Tokens [1, 77] of the tokenizer of transformers, padded as in each program."""
    from transformers import CLIPTokenizer

    padding = "!" if tiny.version == "sd2" else END
    tokenizer = CLIPTokenizer.from_pretrained(folder, pad_token=padding)
    options = {"padding": "max_length", "max_length": 77, "truncation": True, "return_tensors": "pt"}
    return tokenizer(prompt, **options).input_ids


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_predicts_the_same_as_the_original_network(tiny, layouts, layout):
    prior = load(layouts[layout])
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(8, 4, 8, 8, generator=generator)
    timesteps = torch.tensor([20] * 4 + [981] * 4)
    texts = [prior.encode_prompt(prompt) for prompt in PROMPTS]
    got = prior.predict_noise(noisy, timesteps, texts, cameras(), torch.zeros(8, 3))
    views = torch.stack([original_camera(*angles) for angles in zip(ELEVATIONS, AZIMUTHS, strict=True)])
    for prompt, prediction in zip(PROMPTS, got, strict=True):
        ids = original_tokens(tiny, layouts["pt"].parent / "tokenizer", prompt)
        context = tiny.encode_text(ids).expand(8, -1, -1)
        expected = tiny.unet(noisy, timesteps, context, views, views=4)
        assert expected.std() > 0.1
        torch.testing.assert_close(prediction, expected, **EXACT)
    assert (got[0] - got[1]).abs().max() > 1e-3  # the text is read
    assert prior.num_views == 4 and prior.resolution == 64  # 32 latents of 2 pixels: the tiny autoencoder halves once


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_encodes_and_decodes_as_the_original_autoencoder(tiny, layouts, layout):
    prior = load(layouts[layout])
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    latents = prior.encode_images(images)
    assert latents.shape == (2, 4, 16, 16)
    torch.testing.assert_close(latents, tiny.vae.encode(images), **EXACT)
    decoded = prior.decode_latents(latents)
    torch.testing.assert_close(decoded, tiny.vae.decode(latents), **EXACT)
    assert decoded.std() > 0.1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_encodes_texts_as_the_original_encoder(tiny, layouts, layout):
    prior = load(layouts[layout])
    for prompt in (*PROMPTS, "a red cat " * 40):
        ids = original_tokens(tiny, layouts["pt"].parent / "tokenizer", prompt)
        expected = tiny.encode_text(ids)
        assert expected.std() > 0.5
        torch.testing.assert_close(prior.encode_prompt(prompt), expected, **EXACT)


def test_all_layouts_give_bitwise_equal_weights(tiny, layouts):
    files = [open_mvdream(path) for path in layouts.values()]
    for part in ("unet", "vae", "text"):
        states = [build(getattr(x, part), CPU, torch.float32).state_dict() for x in files]
        for state in states[1:]:
            torch.testing.assert_close(dict(state), dict(states[0]), rtol=0, atol=0)


def test_unchanged_tensors_are_not_copied(sd2):
    """Weights in the file's precision stay mapped from the file, all but the split ones in one piece."""
    files = open_mvdream(sd2[1])
    model = build(files.unet, CPU, torch.float32)
    mapped = {x.data_ptr() for x in files.unet.section.content.values()}
    assert {x.data_ptr() for x in model.parameters()} == mapped


def test_attention_of_one_view_equals_that_of_stable_diffusion(tiny, layouts):
    plain = build(open_mvdream(layouts["pt"]).unet, CPU, torch.float32)
    generator = torch.Generator().manual_seed(0)
    noisy, texts, views = (torch.randn(4, *size, generator=generator) for size in ((4, 8, 8), (77, 64), (16,)))
    timesteps = torch.full((4,), 300.0)
    expected = plain(noisy, timesteps, texts, class_labels=views).sample  # by the attention of diffusers
    torch.testing.assert_close(
        MultiViewUNet(plain, torch.float32, num_views=1)(noisy, timesteps, texts, views), expected, **EXACT
    )
    joined = MultiViewUNet(plain, torch.float32, num_views=4)(noisy, timesteps, texts, views)
    assert (joined - expected).abs().max() > 1e-2


def test_camera_conditioning_equals_that_of_the_authors():
    front = pose_vectors(turntable(4, 64, elevation_deg=0.0))[0].view(4, 4)
    expected = torch.tensor([[0.0, 0, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    torch.testing.assert_close(front, expected, rtol=0, atol=1e-6)
    views = torch.stack([original_camera(*angles) for angles in zip(ELEVATIONS, AZIMUTHS, strict=True)])
    torch.testing.assert_close(pose_vectors(cameras()), views, rtol=0, atol=1e-6)


def test_noise_levels_are_those_of_the_training(sd2):
    levels = load(sd2[1]).alphas_cumprod
    torch.testing.assert_close(levels, sd2[0].state["alphas_cumprod"], rtol=0, atol=1e-6)
    for t, value in ((20, 0.98131), (500, 0.27633), (980, 0.00584)):
        assert levels[t].item() == pytest.approx(value, abs=5e-6)


def test_half_precision_is_close_and_stays_half_precision(sd2):
    half, single = load(sd2[1], dtype="bfloat16"), load(sd2[1])
    assert {x.dtype for x in half.network.parameters()} == {torch.bfloat16} == {half.vae.model.dtype}
    noisy = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    timesteps, views = torch.full((4,), 500), turntable(4, 64)
    predictions = [
        prior.predict_noise(noisy, timesteps, [prior.encode_prompt("a red cat")], views, torch.zeros(4, 3))[0]
        for prior in (half, single)
    ]
    assert predictions[0].dtype == torch.float32
    # eight bits of precision in each of some fifty layers, which average out
    torch.testing.assert_close(*predictions, rtol=0, atol=0.1 * predictions[1].std().item())


def test_the_tokenizer_equals_that_of_transformers(tmp_path):
    from transformers import CLIPTokenizerFast

    write_tokenizer(tmp_path / "two")
    reference = CLIPTokenizerFast.from_pretrained(tmp_path / "two")
    reference.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokenizers = [read_tokenizer(tmp_path / "two"), read_tokenizer(tmp_path)]
    for prompt in (*HOSTILE, "A red\n  CAT's 2nd 100%", "red cat " * 60):
        expected = reference(prompt, padding="max_length", max_length=77, truncation=True).input_ids
        for tokenizer in tokenizers:
            assert tokenize(tokenizer, prompt, 77, NUM_WORDS - 1) == expected, prompt
    for prompt in (END, f"a {START} cat"):  # letters, which close nothing
        for tokenizer in tokenizers:
            ids = tokenize(tokenizer, prompt, 77, 0)
            assert ids.count(NUM_WORDS - 1) == ids.count(NUM_WORDS - 2) == 1


def test_quotes_and_escapes_are_cleaned_as_by_the_original_program(sd2):
    """ftfy's uncurl_quotes and html.unescape twice, as open_clip's tokenizer cleans a prompt."""
    assert clean_text("\u2018a\u2019 \u201ab\u201b \u02bcc \u201cd\u201d \u201ee\u201f") == "'a' 'b' 'c \"d\" \"e\""
    assert clean_text("salt &amp;amp; pepper &lt;b&gt; \u2014 \u2020") == "salt & pepper <b> \u2014 \u2020"
    prior = load(sd2[1])
    straight, curly = (prior.encode_prompt(f"a {quotes[0]}red{quotes[1]} cat") for quotes in ('""', "\u201c\u201d"))
    assert torch.equal(straight, curly)


def test_a_truncated_list_of_merges_is_rejected(sd2, tmp_path):
    """In both layouts; otherwise known words would silently be read as letters."""
    folder = tmp_path / "tokenizer"
    write_tokenizer(folder)
    whole = read_tokenizer(folder)
    whole.save(str(tmp_path / "tokenizer.json"))
    lines = (folder / "merges.txt").read_text("utf-8").splitlines(keepends=True)
    for kept in range(len(lines)):
        (folder / "merges.txt").write_text("".join(lines[:kept]), "utf-8")
        with pytest.raises(UserError, match=f"tokenizer: damaged: its merges make {max(kept - 1, 0)} of the 4 words"):
            read_tokenizer(folder)
    content = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    content["model"]["merges"].pop()
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(UserError, match="damaged: its merges make 3 of the 4 words"):
        read_tokenizer(tmp_path)


def test_a_tokenizer_is_searched_next_to_the_checkpoint_then_on_the_machine(sd2, tmp_path, monkeypatch):
    alone = tmp_path / "model.pt"
    alone.symlink_to(sd2[1])
    write_tokenizer(tmp_path / "elsewhere")
    monkeypatch.setattr(known, "locate_tokenizer", lambda: tmp_path / "elsewhere")
    assert open_mvdream(alone).tokenizer == tmp_path / "elsewhere"
    assert open_mvdream(sd2[1]).tokenizer == sd2[1].parent / "tokenizer"


def test_a_tokenizer_of_another_model_is_rejected(sd2, tmp_path):
    save_file(sd2[0].state, tmp_path / "model.safetensors")
    write_tokenizer(tmp_path / "tokenizer")
    vocabulary = json.loads((tmp_path / "tokenizer" / "vocab.json").read_text("utf-8"))
    for harm in ({"Ω": NUM_WORDS}, {"a": 10**6}):  # one entry more, or as many with an id beyond the embedding
        (tmp_path / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary | harm), "utf-8")
        with pytest.raises(
            UserError, match=f"encoder of {NUM_WORDS} tokens, got token ids up to {max(harm.values())}; "
        ):
            load(tmp_path / "model.safetensors").encode_prompt("a cat")
    for text, message in (("{", "no tokenizer can be read"), ('{"a": 0}', "got one without")):
        (tmp_path / "tokenizer" / "vocab.json").write_text(text, "utf-8")
        (tmp_path / "tokenizer" / "merges.txt").write_text("", "utf-8")
        with pytest.raises(UserError, match=message):
            load(tmp_path / "model.safetensors").encode_prompt("a cat")


def build_network(name, state):
    """The network of the tensor `name` of an original `state`."""
    readers = {ldm.UNET: ldm.unet, ldm.VAE: ldm.vae, ldm.OPENCLIP: ldm.openclip, ldm.CLIP: ldm.clip}
    prefix, read = next((prefix, read) for prefix, read in readers.items() if name.startswith(prefix))
    return build(read(Section(state, prefix, Path("FILE"))), CPU, torch.float32)


def one_of_each_kind(tiny):
    """Names, one for all that differ in their numbers alone; of the last text block, which has no use, none."""
    kinds = {}
    for name in tiny.state:
        if ".resblocks.2." not in name and name.startswith(("model.", "first", "cond")):
            kinds.setdefault(re.sub(r"\d+", "#", name), []).append(name)
    unused = ("logit_scale", "text_projection", "position_ids")
    return [names[len(names) // 2] for names in kinds.values() if not names[0].endswith(unused)]


def test_a_missing_tensor_is_named(tiny):
    for name in one_of_each_kind(tiny):
        state = {other: x for other, x in tiny.state.items() if other != name}
        with pytest.raises(UserError, match=re.escape(name)):
            build_network(name, state)


def test_a_tensor_of_another_shape_is_named(tiny):
    for name in one_of_each_kind(tiny):
        state = tiny.state | {name: torch.zeros(*tiny.state[name].shape, 2)}
        with pytest.raises(UserError, match=f"{re.escape(name)}: expected .*, got"):
            build_network(name, state)
    name = "model.diffusion_model.input_blocks.1.0.in_layers.2.weight"
    with pytest.raises(UserError, match=rf"{name}: expected the shape \[64, 64, 3, 3\], got \[64, 32, 3, 3\]"):
        build_network(name, tiny.state | {name: torch.zeros(64, 32, 3, 3)})
    with pytest.raises(UserError, match=f"{name}: expected floating-point numbers, got torch.int8"):
        build_network(name, tiny.state | {name: torch.zeros(64, 64, 3, 3, dtype=torch.int8)})


@pytest.mark.parametrize(
    "name",
    [
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k_ip.weight",  # as in ImageDream
        "model.diffusion_model.output_blocks.6.0.in_layers.0.weight",
        "first_stage_model.decoder.up.3.block.0.norm1.weight",
        "cond_stage_model.model.visual.proj",
        "cond_stage_model.transformer.text_model.final_layer_norm.bias",
        "control_model.input_blocks.0.0.weight",
    ],
)
def test_an_extra_tensor_is_named(sd2, tmp_path, name):
    torch.save(sd2[0].state | {name: torch.zeros(3)}, tmp_path / "model.pt")
    write_tokenizer(tmp_path / "tokenizer")
    with pytest.raises(UserError, match=re.escape(name)):
        load(tmp_path / "model.pt").encode_prompt("a cat")


def test_other_noise_levels_are_rejected(sd2, tmp_path):
    torch.save(sd2[0].state | {"alphas_cumprod": torch.linspace(1, 0, 1000)}, tmp_path / "model.pt")
    with pytest.raises(UserError, match=r"model.pt: alphas_cumprod"):
        load(tmp_path / "model.pt")


def test_a_single_view_model_is_rejected(sd2, folder, tmp_path):
    state = {name: x for name, x in sd2[0].state.items() if "camera_embed" not in name}
    torch.save(state, tmp_path / "single.pt")
    with pytest.raises(UserError, match=r"single.pt: expected a U-Net that takes cameras"):
        load(tmp_path / "single.pt")
    config = json.loads((folder / "unet" / "config.json").read_text())
    for change, message in (
        ({"class_embed_type": None}, "takes cameras"),
        ({"projection_class_embeddings_input_dim": 12}, "U-Net with cameras of 16 numbers .a matrix., got 12"),
        ({"block_out_channels": [60, 120]}, "no network can be built from its config"),
        ({"sample_size": "large"}, 'sample_size: expected a whole number from 1 to 1024, got "large"'),
    ):
        (folder / "unet" / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(UserError, match=message):
            load(folder)


class Payload:
    """Content of a hostile checkpoint; unpickling it would create the file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_checkpoint_with_code_is_rejected_and_not_run(sd2, tmp_path):
    trace = tmp_path / "ran"
    torch.save(sd2[0].state | {"code": Payload(trace)}, tmp_path / "model.pt")
    with pytest.raises(UserError, match=r"model.pt: refused"):
        load(tmp_path / "model.pt")
    assert not trace.exists()


@pytest.mark.parametrize("layout", ["pt", "safetensors"])
@pytest.mark.parametrize("kept", [0, 5, 4000, -100])
def test_a_truncated_file_is_named(sd2, tmp_path, layout, kept):
    path = write_layout(sd2[0], layout, tmp_path / "whole")
    content = path.read_bytes()
    path.write_bytes(content[:kept])
    with pytest.raises(UserError, match=f"{path}: (cannot be read|refused)"):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(2)], "expected named tensors, got list"),
        ({"a": 1}, "expected named tensors, got int as 'a'"),
        ({1: torch.zeros(2)}, "expected named tensors, got Tensor as '1'"),
        ({}, "expected named tensors"),
        ({"weird": torch.zeros(2)}, "got 1 others \\(weird\\)"),
    ],
)
def test_a_file_without_a_model_is_rejected(tmp_path, content, message):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(UserError, match=message):
        load(tmp_path / "model.pt")


def test_a_header_that_is_not_json_is_rejected(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", 20) + b"{" + b"x" * 19)
    with pytest.raises(UserError, match=r"model.safetensors: cannot be read"):
        load(tmp_path / "model.safetensors")


def test_an_incomplete_folder_is_rejected(folder):
    for name, message in (
        ("text_encoder/model.safetensors", "text_encoder: no weights"),
        ("vae/config.json", "vae/config.json: missing"),
        ("unet/diffusion_pytorch_model.safetensors", "unet: no weights"),
        ("tokenizer/merges.txt", "tokenizer: no tokenizer; expected vocab.json and merges.txt"),
        ("unet/config.json", "expected a checkpoint file, or a folder with unet/config.json"),
    ):
        (folder / name).unlink()
        with pytest.raises(UserError, match=message):
            load(folder)


def test_a_damaged_converted_folder_is_rejected(sd2, tmp_path):
    convert.convert(sd2[1], tmp_path / "folder", torch.float32)
    (tmp_path / "folder" / "vae" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"vae/config.json: damaged"):
        load(tmp_path / "folder")


def test_a_config_cannot_name_code_to_run():
    model = ldm.clip_text_model({"vocab_size": 9, "attn_implementation": "some/kernel", "auto_map": {"": "some/code"}})
    assert model.config._attn_implementation in ("sdpa", "eager") and not hasattr(model.config, "auto_map")


def test_a_converted_folder_is_read_by_diffusers_and_transformers(tiny, layouts, tmp_path, capsys):
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    target = tmp_path / "new" / "mvdream"
    assert convert.main([str(layouts["pt"]), str(target)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    verify(target)
    assert [path.name for path in target.parent.iterdir()] == ["mvdream"]
    for path in target.glob("*/*.safetensors"):
        assert {x.dtype for x in load_file(path).values()} == {torch.float16}

    for cls, part in ((UNet2DConditionModel, "unet"), (AutoencoderKL, "vae"), (CLIPTextModel, "text_encoder")):
        model, info = cls.from_pretrained(target / part, output_loading_info=True)
        assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), part
        expected = build(getattr(open_mvdream(target), part.removesuffix("_encoder")), CPU, model.dtype)
        torch.testing.assert_close(dict(model.state_dict()), dict(expected.state_dict()), rtol=0, atol=0)
    ids = CLIPTokenizer.from_pretrained(target / "tokenizer")("a red cat", padding="max_length").input_ids
    assert ids == original_tokens(tiny, layouts["pt"].parent / "tokenizer", "a red cat")[0].tolist()
    levels = DDIMScheduler.from_pretrained(target / "scheduler").alphas_cumprod
    torch.testing.assert_close(levels, load(target).alphas_cumprod, rtol=0, atol=0)

    convert.convert(target, tmp_path / "again", torch.float16)
    for path in target.rglob("*.safetensors"):
        again = load_file(tmp_path / "again" / path.relative_to(target))
        torch.testing.assert_close(again, load_file(path), rtol=0, atol=0)


def test_a_failed_conversion_leaves_no_folder(sd2, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match=r"there: exists already"):
        convert.main([str(sd2[1]), str(tmp_path / "there")])
    state = {name: x for name, x in sd2[0].state.items() if not name.endswith("ln_final.bias")}
    torch.save(state, tmp_path / "there" / "model.pt")
    write_tokenizer(tmp_path / "there" / "tokenizer")
    with pytest.raises(UserError, match=r"ln_final.bias"):
        convert.convert(tmp_path / "there" / "model.pt", tmp_path / "target", torch.float32)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # what a full disk does
    try:
        with pytest.raises(UserError, match=r"cannot write .*make room"):
            convert.convert(sd2[1], tmp_path / "target", torch.float32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.slow
def test_the_networks_compile_as_one_graph(sd2):
    """As on a GPU, except for the final code generation."""
    prior = load(sd2[1])
    options = {"dynamic": False, "fullgraph": True, "backend": "eager"}
    generator = torch.Generator().manual_seed(0)
    noisy, texts = (torch.randn(4, *size, generator=generator) for size in ((4, 8, 8), (77, 64)))
    inputs = noisy, torch.full((4,), 300.0), texts, pose_vectors(turntable(4, 64))
    torch.testing.assert_close(torch.compile(prior.network, **options)(*inputs), prior.network(*inputs), **EXACT)
    images = torch.rand(2, 3, 32, 32, generator=generator)
    expected = prior.encode_images(images)
    prior.vae.moments = torch.compile(prior.vae.moments, **options)
    torch.testing.assert_close(prior.encode_images(images), expected, **EXACT)


@pytest.mark.slow
def test_every_tensor_of_the_published_size_is_mapped(tmp_path):
    """The published sizes are known without the weights, and every tensor is assigned."""
    with torch.device("meta"):
        unet = ldm_modules.UNet(320, (1, 2, 4, 4), (True, True, True, False), 2, 1024)
        vae = ldm_modules.Vae(128, (1, 2, 4, 4), 2)
        text = ldm_modules.OpenClipText(49408, 1024, 24)
    assert sum(x.numel() for x in unet.parameters()) == 867_572_164 and len(unet.state_dict()) == 690
    state, generator = {}, torch.Generator().manual_seed(0)
    for prefix, module in ((ldm.UNET, unet), (ldm.VAE, vae), (ldm.OPENCLIP, text)):
        for name, x in module.state_dict().items():
            state[prefix + name] = torch.empty(x.shape, dtype=torch.float16).uniform_(-1, 1, generator=generator)
    torch.save(state, tmp_path / "model.pt")
    write_tokenizer(tmp_path / "tokenizer")

    def marks(tensors):
        """What distinguishes the tensors: shape, first and last number."""
        return sorted((tuple(x.shape), x.flatten()[0].item(), x.flatten()[-1].item()) for x in tensors)

    expected = marks(x for name, x in state.items() if name.startswith(ldm.UNET))
    del state
    prior = load(tmp_path / "model.pt", dtype="float16")
    assert marks(prior.network.parameters()) == expected
    assert sum(x.numel() for x in prior.network.parameters()) == 867_572_164
    assert sum(x.numel() for x in prior.vae.model.parameters()) == 83_653_863
    config = prior.network.unet.config
    assert list(config.attention_head_dim) == [5, 10, 20, 20] and config.cross_attention_dim == 1024
    assert config.use_linear_projection and config.layers_per_block == 2
    assert prior.resolution == 256
    text = build(open_mvdream(tmp_path / "model.pt").text, CPU, torch.float16)
    assert sum(x.numel() for x in text.parameters()) == 340_387_840
    assert text.config.num_hidden_layers == 23 and text.config.num_attention_heads == 16
