"""The judge: networks, training data, storage, and CLIP models as an alternative."""

import json
import math
import random
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from sds3d.cameras import Cameras, sample_orbits, turntable
from sds3d.errors import UserError
from sds3d.evaluation import judge, judge_data, letters, train_judge
from sds3d.evaluation.metrics import r_precision, views_together
from sds3d.evaluation.pool import render_pool
from sds3d.evaluation.towers import RESOLUTION, WIDTH, Towers
from sds3d.imaging.png import BACKGROUND
from sds3d.procedural.objects import sample_object
from sds3d.procedural.objects.held_out import held_out_pool, holds_held_out, pool_id
from sds3d.procedural.parts import pack
from sds3d.procedural.tracer import trace

SIZES = {"channels": [8, 16], "text_width": 16}
CPU = torch.device("cpu")
PICTURES = torch.rand(3, 3, RESOLUTION, RESOLUTION, generator=torch.Generator().manual_seed(0))
TEXTS = ["a red car", "A RED CAR!", "a car that is red", ""]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An untrained judge."""
    torch.manual_seed(0)
    judge.save_towers(Towers(**SIZES), SIZES, pool_id(), tmp_path / "judge")
    return tmp_path / "judge"


def assert_unit(vectors: torch.Tensor, count: int, width: int) -> None:
    assert vectors.shape == (count, width)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(count))


def test_ours_embeds_pictures_and_texts_as_unit_vectors(folder: Path) -> None:
    loaded = judge.load_judge(folder, CPU)
    assert_unit(loaded.embed_images(PICTURES), 3, WIDTH)
    texts = loaded.embed_texts(TEXTS)
    assert_unit(texts, 4, WIDTH)
    assert torch.equal(texts[0], texts[1])  # case and punctuation are ignored
    assert (texts[0] - texts[2]).abs().max() > 1e-3  # but word order is not


def test_embeddings_do_not_depend_on_the_batch(folder: Path) -> None:
    """Neither on other items nor on the lengths of other texts; 1e-5: sums in another order."""
    loaded = judge.load_judge(folder, CPU)
    for embed, items in ((loaded.embed_images, PICTURES), (loaded.embed_texts, TEXTS)):
        alone = torch.cat([embed(items[k : k + 1]) for k in range(len(items))])
        torch.testing.assert_close(embed(items), alone, atol=1e-5, rtol=0)


def test_larger_pictures_are_downsampled(folder: Path) -> None:
    """A picture with doubled pixels equals the picture itself, except at the borders."""
    loaded = judge.load_judge(folder, CPU)
    smooth = F.interpolate(torch.rand(2, 3, 4, 4), size=(RESOLUTION,) * 2, mode="bilinear")
    doubled = smooth.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(loaded.embed_images(doubled), loaded.embed_images(smooth), atol=0.02, rtol=0)


def test_storage_in_eight_bits_changes_little_and_fits(tmp_path: Path) -> None:
    """Rounding each weight by half a step of 1 / 127 moves an embedding by a few percent."""
    torch.manual_seed(0)
    cfg = train_judge.parse(["--out", "unused"])
    sizes = {"channels": cfg.channels, "text_width": cfg.text_width}
    towers = Towers(**sizes).eval()
    judge.save_towers(towers, sizes, pool_id(), tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 6_000_000
    loaded = judge.load_towers(tmp_path, CPU)
    exact = judge.TowersJudge(towers, CPU)
    assert (loaded.embed_images(PICTURES) * exact.embed_images(PICTURES)).sum(-1).min() > 0.99
    assert (loaded.embed_texts(TEXTS) * exact.embed_texts(TEXTS)).sum(-1).min() > 0.99


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("config.json", None, "no judge there"),
        ("config.json", b"[", "cannot be read"),
        ("config.json", b"[]", "expected a JSON object"),
        ("config.json", b'{"model_type": "bert"}', "expected model_type"),
        ("weights.int8.safetensors", b"short", "damaged"),
        ("weights.int8.safetensors", None, "missing"),
        ("sha256.json", None, "cannot be read"),
    ],
)
def test_a_damaged_judge_is_rejected(folder: Path, name: str, content: bytes | None, message: str) -> None:
    """The error has the command that trains a judge."""
    path = folder / name
    path.write_bytes(content) if content is not None else path.unlink()
    with pytest.raises(UserError, match=message) as caught:
        judge.load_judge(folder, CPU)
    assert judge.TRAIN in str(caught.value) and "\n" not in str(caught.value)


def write_clip(folder: Path) -> None:
    """Writes a tiny CLIP model with random weights."""
    from tokenizers import Tokenizer, models
    from transformers import CLIPConfig, CLIPModel

    tower = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "r": 2, "e": 3, "d</w>": 4}
    text = {**tower, "vocab_size": 5, "max_position_embeddings": 77, "bos_token_id": 0, "eos_token_id": 1}
    vision = {**tower, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    Tokenizer(models.BPE(words, [], unk_token="<|endoftext|>", end_of_word_suffix="</w>")).save(
        str(folder / "tokenizer.json")
    )
    names = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    names |= {"tokenizer_class": "CLIPTokenizer", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")


def test_a_clip_folder_is_a_judge(tmp_path: Path) -> None:
    """Its embeddings equal those of transformers."""
    from transformers import CLIPModel, CLIPTokenizer

    write_clip(tmp_path)
    loaded = judge.load_judge(tmp_path, CPU)
    assert loaded.name == f"CLIP ({tmp_path.name})"
    texts = loaded.embed_texts(["red", "d " * 200])
    assert_unit(texts, 2, 16)
    assert_unit(loaded.embed_images(PICTURES), 3, 16)
    model = CLIPModel.from_pretrained(tmp_path).eval()
    tokens = CLIPTokenizer.from_pretrained(tmp_path)(["red"], return_tensors="pt")
    mean, std = (torch.tensor(x)[:, None, None] for x in (judge.CLIP_MEAN, judge.CLIP_STD))
    pixels = F.interpolate(PICTURES, (32, 32), mode="bicubic", antialias=True).clamp(0, 1)
    with torch.no_grad():
        output = model(**tokens, pixel_values=(pixels - mean) / std)
    torch.testing.assert_close(texts[:1], output.text_embeds)
    torch.testing.assert_close(loaded.embed_images(PICTURES), output.image_embeds)


def test_a_clip_folder_without_safetensors_is_rejected(tmp_path: Path) -> None:
    write_clip(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="no usable CLIP model"):
        judge.load_judge(tmp_path, CPU)


def test_pieces_of_a_word() -> None:
    ids = letters.pieces(["car", "a car, a car", "word " * 40, ""])
    assert ids.shape == (4, letters.MAX_WORDS, letters.MAX_PIECES)
    assert (ids[0, 0] != 0).sum() == 4  # <car>, <ca, car, ar>
    assert torch.equal(ids[1, 1], ids[0, 0]) and torch.equal(ids[1, 3], ids[0, 0]) and not ids[1, 4:].any()
    assert ids[2, -1].any() and not ids[3].any()
    assert ids.max() < letters.BUCKETS
    shared = set(letters.pieces(["automobile"])[0, 0].tolist()) & set(letters.pieces(["automobiles"])[0, 0].tolist())
    assert len(shared - {0}) >= 9  # so that a plural resembles its singular


def test_loss_in_closed_form() -> None:
    """Perfect pairs at cosine 1 against 0, scale s: log(e^s + B - 1) - s; with one caption for all, log B."""
    vectors, scale = torch.eye(4), torch.tensor(3.0)
    loss = train_judge.contrastive_loss(vectors, vectors, scale, torch.arange(4))
    assert loss.item() == pytest.approx(math.log(math.exp(3) + 3) - 3, rel=1e-5)
    same = train_judge.contrastive_loss(vectors, vectors[:1].expand(4, -1), scale * 0, torch.zeros(4))
    assert same.item() == pytest.approx(math.log(4), rel=1e-5)


def test_objects_with_equal_captions_are_interchangeable() -> None:
    """Swapping the pictures of two objects of one caption changes nothing."""
    images, texts = F.normalize(torch.randn(2, 4, 8), dim=-1)
    texts[1] = texts[0]
    captions = torch.tensor([0, 0, 1, 2])
    swapped = train_judge.contrastive_loss(images[[1, 0, 2, 3]], texts, torch.tensor(5.0), captions)
    torch.testing.assert_close(swapped, train_judge.contrastive_loss(images, texts, torch.tensor(5.0), captions))


def test_rotating_object_and_camera_moves_only_the_light() -> None:
    """The silhouette is the same, except for rays at its edge; the colors change."""
    rng = random.Random(3)
    parts = torch.stack([torch.from_numpy(pack(sample_object(rng, "teddy bear")[0])) for _ in range(2)])
    generator = torch.Generator().manual_seed(0)
    cameras = sample_orbits(2, 1, RESOLUTION, (20, 20), (2.7, 2.7), (40, 40), generator)
    turned, viewmats = judge_data.turn(parts, cameras.viewmats, judge_data.random_turns(2, generator))
    before = trace(parts, cameras, 1)
    after = trace(turned, Cameras(viewmats, cameras.Ks, RESOLUTION, RESOLUTION), 1)
    assert (before[..., 3] != after[..., 3]).float().mean() < 0.002
    assert (before[..., :3] - after[..., :3]).abs().mean() > 0.005


def test_turns_are_rotations_with_a_limited_tilt() -> None:
    turns = judge_data.random_turns(100, torch.Generator().manual_seed(0))
    torch.testing.assert_close(turns @ turns.transpose(1, 2), torch.eye(3).expand(100, 3, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(100))
    tilts = turns[:, 2, 2].acos().rad2deg()
    assert tilts.max() <= judge_data.TILT_DEG and tilts.max() > 0.8 * judge_data.TILT_DEG
    assert (turns[:, :2, :2].mean(0).abs() < 0.2).all()  # any angle about the vertical


def test_backgrounds_are_linear_gradients() -> None:
    ends = torch.tensor([[[0.0, 0, 0], [1.0, 1, 1]]])
    for angle, horizontal in ((0.0, True), (math.pi / 2, False)):
        picture = judge_data.gradients(ends, torch.tensor([angle]))[0, 0]
        steps = picture.diff(dim=1 if horizontal else 0)
        torch.testing.assert_close(steps, torch.full_like(steps, 1 / (63 * math.sqrt(2))), atol=1e-6, rtol=0)
        assert picture.mean().item() == pytest.approx(0.5, abs=1e-5)


def test_light_in_closed_form() -> None:
    colors = torch.full((1, 3, 2, 2), 0.5)
    light = torch.tensor([[1.2, 2.0, 1.0, 0.5, 2.0]])
    assert judge_data.relight(colors, light)[0, :, 0, 0].tolist() == pytest.approx([0.36, 0.09, 1.0])


def test_batches_depend_only_on_their_number_and_contain_no_caption_of_the_pool() -> None:
    batches = judge_data.JudgedObjects(7, 4, range(5, 9))
    assert len(batches) == 4
    for one, other in zip(batches[1], judge_data.JudgedObjects(7, 4, range(6, 7))[0], strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(batches[0].ids, batches[1].ids)
    rng = random.Random(0)
    captions = [judge_data._sample(rng)[1] for _ in range(3000)]
    assert not any(holds_held_out(caption) for caption in captions)
    words = {word for caption in captions for word in caption.split()}
    assert {"crimson", "red", "toadstool", "mushroom"} <= words  # it learns both wordings


def arguments(out: Path, *options: str) -> list[str]:
    small = ["--batch", "4", "--channels", "8", "16", "--text-width", "16", "--rays", "1", "--device", "cpu"]
    return ["--out", str(out), *small, "--workers", "0", "--steps", "4", *options]


def test_a_resumed_training_gives_equal_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_judge, "pool_precision", lambda judge, device: 0.0)
    train_judge.main(arguments(tmp_path / "whole"))

    class Stop(Exception):
        pass

    step = train_judge.Learner.train_step

    def stop_after_two(learner: train_judge.Learner, batch: judge_data.Batch) -> torch.Tensor:
        if learner.step == 2:
            raise Stop
        return step(learner, batch)

    monkeypatch.setattr(train_judge.Learner, "train_step", stop_after_two)
    with pytest.raises(Stop):
        train_judge.main(arguments(tmp_path / "parts", "--save-every", "0"))
    monkeypatch.setattr(train_judge.Learner, "train_step", step)
    train_judge.main(arguments(tmp_path / "parts"))
    for name in ("sha256.json", "config.json", judge.WEIGHTS):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with pytest.raises(SystemExit, match="expected batch 8, got 4"):
        train_judge.main(arguments(tmp_path / "parts", "--batch", "8"))


@pytest.mark.slow
def test_training_finds_captions_of_unseen_objects(tmp_path: Path) -> None:
    """400 steps of a small network: R-precision is ten times that of chance, 1 in 200."""
    small = ["--batch", "128", "--channels", "16", "32", "64", "--text-width", "64", "--rays", "1", "--device", "cpu"]
    train_judge.main(["--out", str(tmp_path), *small, "--workers", "0", "--steps", "400", "--save-every", "3600"])
    assert train_judge.pool_precision(judge.load_judge(tmp_path, CPU), CPU) > 10 / len(held_out_pool())


def test_the_shipped_judge_finds_the_true_objects_of_the_present_pool() -> None:
    """Its R-precision is at least 0.98 in either wording."""
    shipped = Path(judge.__file__).parent / "weights"
    assert judge.read_config(shipped)["pool"] == pool_id()
    loaded = judge.load_judge(shipped, CPU)
    colors, alphas = render_pool(200, turntable(4, RESOLUTION), CPU)
    images = loaded.embed_images((colors + (1 - alphas) * BACKGROUND).flatten(0, 1)).unflatten(0, (200, 4))
    pool = held_out_pool()
    for captions in ([held.plain for held in pool], [held.caption for held in pool]):
        assert r_precision(views_together(images), loaded.embed_texts(captions), torch.arange(200)) >= 0.98
