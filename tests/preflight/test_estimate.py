"""Estimated memory equals closed forms for single operations, and real calls for whole networks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from torch.nn import functional as F

from sds3d.cameras import turntable
from sds3d.cli.main import main
from sds3d.config.schema import (
    Config,
    MVDreamConfig,
    NFSDConfig,
    PocketConfig,
    PriorConfig,
    SDSConfig,
    StableDiffusionConfig,
    StageConfig,
    VSDConfig,
)
from sds3d.errors import UserError
from sds3d.preflight.estimate import (
    CONTEXT,
    GIB,
    MARGIN,
    call_bytes,
    encoding_bytes,
    estimate,
    learning_bytes,
    num_texts,
    together,
)
from sds3d.preflight.peak_memory import PeakMemory, fused_attention
from sds3d.priors.blueprint import META, VAE, Blueprint, bytes_of
from sds3d.priors.kinds import kind_of
from sds3d.priors.known import find_known
from sds3d.priors.pocket.prior import load_pocket
from sds3d.priors.weights import POCKET
from tests.helpers.fake_models import TINY_UNET, write_configs


def draw_blueprint(cfg: PriorConfig, device_type: str) -> Blueprint:
    return kind_of(cfg).blueprint(device_type)


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_chain_without_gradients_holds_two_results(device: str) -> None:
    weights = [torch.empty(64, 64, device=device) for _ in range(5)]
    with PeakMemory() as memory:
        y = torch.zeros(8, 64, device=device)
        for weight in weights:
            y = y @ weight.t()
    assert (memory.peak, memory.live) == (2 * 8 * 64 * 4, 8 * 64 * 4)
    del y
    assert memory.live == 0


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_chain_with_gradients_holds_their_inputs(device: str) -> None:
    """Sine saves its input. A product with a trained matrix saves its input, one with a frozen matrix nothing."""
    size, depth = 8 * 64 * 4, 5
    for trained, kept in ((False, depth), (True, 2 * depth - 1)):
        weights = [torch.empty(64, 64, device=device, requires_grad=trained) for _ in range(depth)]
        x = torch.empty(8, 64, device=device, requires_grad=True)
        with PeakMemory() as memory:
            y = x
            for weight in weights:
                y = torch.sin(y @ weight)
        assert memory.live == (kept + 1) * size  # and the result
        assert memory.peak == memory.live + (not trained) * size  # the last input, which is kept anyway if trained
        y.sum().backward()


def test_views_in_place_operations_and_inputs_need_no_memory() -> None:
    weight = torch.ones(100, 10, device=META)
    with PeakMemory() as memory:
        weight.t().reshape(5, 200)[1].unsqueeze(0)
        weight.add_(1).mul_(2)
    assert memory.peak == 10 * 100 * 4  # reshape of a transposed matrix copies
    with PeakMemory() as memory:
        weight.view(10, 100)[:5].add_(1)
    assert memory.peak == 0


def test_a_backward_pass_has_equal_memory_with_and_without_data() -> None:
    def peak(device: str) -> int:
        with torch.device(device):
            network = torch.nn.Sequential(
                torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.GroupNorm(4, 16), torch.nn.SiLU(),
                torch.nn.Conv2d(16, 32, 3, stride=2, padding=1), torch.nn.Flatten(2), torch.nn.Linear(64, 8),
            )  # fmt: skip
            images = torch.zeros(2, 3, 16, 16, requires_grad=True)
        with PeakMemory() as memory:
            network(images).square().sum().backward()
        return memory.peak

    assert peak("meta") == pytest.approx(
        peak("cpu"), rel=0.02
    )  # group norm on a CPU saves its statistics in another way


def test_fused_attention_holds_no_scores() -> None:
    length, width = 1024, 64
    query, key, value = (torch.empty(1, 1, length, width, device=META, requires_grad=True) for _ in range(3))
    with fused_attention(), PeakMemory() as memory:
        out = F.scaled_dot_product_attention(query, key, value)
    assert out.shape == query.shape
    assert memory.live == pytest.approx(4 * length * (width + 1), abs=64)  # the result, one number per row, a seed
    with PeakMemory() as memory:
        F.scaled_dot_product_attention(query, key, value)
    assert memory.peak > 4 * length**2


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mvdream-sd2.1", 867_572_164),
        ("mvdream-sd1.5", 859_520_964 + 16 * 1280 + 1280 + 1280 * 1280 + 1280),  # and the embedding of cameras
        ("sd-1.5", 859_520_964),
        ("sd-2.1-base", 865_910_724),
        ("sd-2.1", 865_910_724),
        ("sdxl-base-1.0", 2_567_463_684),
        ("sd3.5-medium", 2_243_171_520 + 384 * 384 * 1536),  # and its table of positions, which is not trained
    ],
)
def test_known_models_have_their_published_sizes(name: str, count: int) -> None:
    model = find_known(name)
    cls = {"mvdream": MVDreamConfig, "stable-diffusion": StableDiffusionConfig}[model.kind]
    blueprint = draw_blueprint(cls(path=name), "cuda")
    assert bytes_of(blueprint.network) == 2 * count
    assert bytes_of(blueprint.autoencoder) == 2 * (83_819_683 if name.startswith("sd3") else 83_653_863)
    assert blueprint.resolution == model.resolution
    assert draw_blueprint(cls(path=name, dtype="float32"), "cuda").network.dtype == torch.float32


def test_a_folder_is_estimated_from_its_configs(tmp_path: Path) -> None:
    folder = write_configs(tmp_path / "tiny")
    blueprint = draw_blueprint(StableDiffusionConfig(path=folder), "cpu")
    assert (blueprint.latents, blueprint.resolution, blueprint.num_views) == ((4, 16, 16), 128, 1)
    assert bytes_of(blueprint.network) < 10e6 and blueprint.network.dtype == torch.float32
    community = write_configs(tmp_path / "community", {"camera_dim": 16, "context_dim": 768}, VAE)
    blueprint = draw_blueprint(MVDreamConfig(path=community), "cpu")
    assert blueprint.network.config.cross_attention_dim == 768 and blueprint.num_views == 4
    community = write_configs(tmp_path / "smaller", {"camera_dim": 16, "image_size": 16}, VAE)
    assert draw_blueprint(MVDreamConfig(path=community), "cpu").resolution == 128
    sizeless = write_configs(tmp_path / "sizeless", TINY_UNET | {"sample_size": None})
    with pytest.raises(UserError, match="sizeless: sample_size: expected a whole number .*, got null"):
        draw_blueprint(StableDiffusionConfig(path=sizeless), "cpu")
    (Path(folder) / "unet" / "config.json").write_text("[")
    with pytest.raises(UserError, match="unet/config.json: cannot be read"):
        draw_blueprint(StableDiffusionConfig(path=folder), "cpu")


@pytest.mark.parametrize("measure", [call_bytes, encoding_bytes, learning_bytes])
def test_twice_the_images_need_twice_the_memory(measure: Callable, tmp_path: Path) -> None:
    folder = write_configs(tmp_path / "tiny")
    blueprint = draw_blueprint(StableDiffusionConfig(path=folder), "cuda")
    assert measure(blueprint, 8) == pytest.approx(2 * measure(blueprint, 4), rel=0.01)  # but for constants


def test_half_precision_needs_half(tmp_path: Path) -> None:
    folder = write_configs(tmp_path / "tiny")
    half, single = (draw_blueprint(StableDiffusionConfig(path=folder, dtype=x), "cuda") for x in ("float16", "float32"))
    assert 2 * bytes_of(half.network) == bytes_of(single.network)
    assert encoding_bytes(half, 4) == pytest.approx(encoding_bytes(single, 4) / 2, rel=0.1)  # images are float32


def test_encoding_in_batches_needs_the_memory_of_one_batch() -> None:
    whole, part = (draw_blueprint(MVDreamConfig(vae_batch=x), "cuda") for x in (0, 2))
    needed = encoding_bytes(whole, 2)
    assert encoding_bytes(whole, 8) == pytest.approx(4 * needed, rel=0.01)
    assert needed < encoding_bytes(part, 8) < 1.1 * needed


def test_learning_needs_more_than_a_call() -> None:
    blueprint = draw_blueprint(MVDreamConfig(), "cuda")
    assert learning_bytes(blueprint, 4) > 4 * call_bytes(blueprint, 4)


def test_the_shipped_prior_needs_the_estimated_memory() -> None:
    """A real call on a CPU creates the same tensors, except for copies of its arguments: one batch of latents."""
    prior = load_pocket(POCKET, torch.device("cpu"))
    cameras = turntable(4, 64)
    texts = [prior.encode_prompt("a red mushroom"), prior.encode_prompt("")]
    noisy, timesteps = torch.zeros(4, 24, 32, 32), torch.full((4,), 500)
    with PeakMemory() as memory:
        prior.predict_noise(noisy, timesteps, texts, cameras, torch.zeros(4, 3))
    assert call_bytes(draw_blueprint(PocketConfig(), "cpu"), 8) == pytest.approx(memory.peak, rel=0.1)


@pytest.mark.cuda
@pytest.mark.measures
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_allocates_the_estimated_memory() -> None:
    """Within a quarter: workspaces are not estimated, and group norms on a GPU copy their input."""

    def measured(function: Callable[[], object]) -> int:
        function()  # what libraries set up at first use
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        return torch.cuda.max_memory_allocated() - before

    blueprint = draw_blueprint(MVDreamConfig(), "cuda")
    unet, vae = (module.to_empty(device="cuda") for module in (blueprint.network, blueprint.autoencoder))
    half = {"dtype": torch.float16, "device": "cuda"}
    noisy = torch.zeros(8, 4, 32, 32, **half).contiguous(memory_format=torch.channels_last)
    texts, views, timesteps = (
        torch.zeros(8, 77, 1024, **half),
        torch.zeros(8, 16, **half),
        torch.zeros(8, device="cuda"),
    )
    torch.backends.cudnn.benchmark = True  # as in the priors; other algorithms need gigabytes of workspace
    with torch.no_grad():
        took = measured(lambda: unet(noisy, timesteps, texts, class_labels=views))
    assert call_bytes(draw_blueprint(MVDreamConfig(), "cuda"), 8) == pytest.approx(took, rel=0.25)
    images = torch.zeros(4, 3, 256, 256, **half).contiguous(memory_format=torch.channels_last).requires_grad_()
    took = measured(lambda: torch.autograd.grad(vae.encoder(images).sum(), images))
    assert encoding_bytes(draw_blueprint(MVDreamConfig(), "cuda"), 4) == pytest.approx(took, rel=0.25)


def test_rows_per_call_follow_the_texts_of_the_estimator() -> None:
    plain, wary = StableDiffusionConfig(), StableDiffusionConfig(perp_neg=True)
    nfsd = StageConfig(estimator=NFSDConfig())
    assert [num_texts(plain, StageConfig()), num_texts(plain, nfsd), num_texts(wary, StageConfig())] == [2, 3, 4]
    assert num_texts(MVDreamConfig(), StageConfig()) == num_texts(PocketConfig(), StageConfig()) == 2


def test_the_default_run_has_the_network_calls_of_the_docs() -> None:
    stages = estimate(Config(), "cpu").stages
    assert [stage.targets for stage in stages] == [50, 10, 2]
    assert [stage.network_calls for stage in stages] == [50, 10 * 10, 2 * 6]
    text = (Path(__file__).parents[2] / "docs" / "pipeline.md").read_text()
    steps, targets, calls = (sum(getattr(stage, x) for stage in stages) for x in ("steps", "targets", "network_calls"))
    assert f"{steps} steps, {targets} targets and {calls} network calls" in text


def test_parts_that_coexist_are_added() -> None:
    names = ("context", "network", "autoencoder", "text encoder", "network call", "learning", "encoder call")
    parts = {name: 10**place for place, name in enumerate([*names, "scene", "renders"])}
    assert together(parts, "cuda") == 111_110_111
    assert together(parts | {"text encoder": 10**10}, "cuda") == 10**10 + 111
    assert together(parts, "cpu") == 111_000_111


def test_the_largest_stage_determines_the_memory(tmp_path: Path) -> None:
    folder = write_configs(tmp_path / "tiny")
    small = StageConfig(name="small", steps=10, prior_every=4)
    large = replace(small, name="large", num_orbits=8, estimator=VSDConfig())
    other = replace(small, name="other", prior=StableDiffusionConfig(path=folder), estimator=SDSConfig())
    found = estimate(Config(stages=(small, large, other)), "cuda")
    assert [stage.prior for stage in found.stages] == ["pocket", "pocket", folder]
    assert [(stage.num_images, stage.targets) for stage in found.stages] == [(4, 3), (32, 3), (1, 3)]
    assert [(stage.rows, stage.network_calls) for stage in found.stages] == [(8, 3), (64, 9), (2, 3)]
    assert found.largest.name == "large" and found.stages[0].parts["learning"] == 0 < found.largest.parts["learning"]
    assert found.largest.with_margin - CONTEXT == pytest.approx((found.largest.needed - CONTEXT) * (1 + MARGIN))


def test_more_gaussians_need_more_memory() -> None:
    few, many = (
        estimate(Config(representation=replace(Config().representation, max_gaussians=n)), "cuda").largest.parts
        for n in (10**5, 10**6)
    )
    assert many["scene"] == 10 * few["scene"] and 0.5 < many["scene"] / GIB < 1
    assert {**many, "scene": 0} == {**few, "scene": 0}


def test_the_verb_reports_whether_a_run_fits(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = tmp_path / "two.yaml"
    config.write_text("stages:\n- {name: a, steps: 9}\n- {name: b}")
    command = ["estimate", "--config", str(config), "--prior", "mvdream-sd2.1"]
    assert main([*command, "--gpu-gib", "16", "stages.1.steps=5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["stage", "a", "b"]
    rows = {line[:16].strip(): line[16:].split() for line in lines[:7]}
    assert (rows["targets"], rows["network calls"]) == (["3", "2"], ["3", "2"])
    assert (rows["images a target"], rows["rows a call"]) == (["4", "4"], ["8", "8"])
    assert lines[-2].startswith("prior.path: mvdream-sd2.1 is not on this machine")
    assert lines[-1].startswith("fits: stage a needs about ") and lines[-1].endswith("the given GPU has 16 GiB")
    assert main([*command, "--gpu-gib", "2"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("does not fit: ")
    assert main(["estimate", "--prior", "mvdream"]) == 2
    assert "no known model" in capsys.readouterr().err


def test_on_a_cpu_the_limit_is_host_memory(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["estimate", "device=cpu"]) == 0
    assert "comes with sds3d\nfits: the run needs about 1." in capsys.readouterr().out
    monkeypatch.setattr("os.sysconf", lambda name: 1024)
    assert main(["estimate", "device=cpu"]) == 1
    assert capsys.readouterr().out.endswith("this machine has 0.0 GiB\n")
