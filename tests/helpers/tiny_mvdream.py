"""Tiny versions of MVDream with random weights, in all of its layouts."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sds3d.priors.convert import convert
from tests.helpers import ldm_modules

LAYOUTS = ("pt", "nested", "safetensors", "community", "community_bin", "converted")
START, END = "<|startoftext|>", "<|endoftext|>"
NUM_WORDS = 512 + 4 + 2  # letters, letters that end a word, merges, start and end


@dataclass(frozen=True)
class TinyMVDream:
    """The original networks, and `state` as the original program saves it."""

    version: str  # sd1 or sd2
    unet: ldm_modules.UNet
    vae: ldm_modules.Vae
    text: nn.Module
    state: dict[str, torch.Tensor]

    def encode_text(self, ids):
        """[1, L, D] of tokens [1, L]."""
        return self.text(ids) if self.version == "sd2" else self.text(ids).last_hidden_state


def make_tiny_mvdream(version):
    """Random vectors, the same in every call."""
    heads, layers = (None, 2) if version == "sd2" else (8, 1)
    unet = ldm_modules.seeded(ldm_modules.UNet(heads=heads, layers=layers), 1)
    vae = ldm_modules.seeded(ldm_modules.Vae(layers=layers), 2)
    if version == "sd2":
        text, prefix = ldm_modules.seeded(ldm_modules.OpenClipText(NUM_WORDS), 3), "cond_stage_model.model."
        names = {name: name for name in text.state_dict()}
    else:
        text, prefix = ldm_modules.seeded(clip_text(), 3), "cond_stage_model.transformer."
        names = {name: f"text_model.{name.removeprefix('text_model.')}" for name in text.state_dict()}
    state = {f"model.diffusion_model.{name}": x for name, x in unet.state_dict().items()}
    state |= {f"first_stage_model.{name}": x for name, x in vae.state_dict().items()}
    state |= {prefix + names[name]: x for name, x in text.state_dict().items()}
    if version == "sd1":
        state[prefix + "text_model.embeddings.position_ids"] = torch.arange(77)[None]
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    state |= {"betas": betas.float(), "alphas_cumprod": (1 - betas).cumprod(0).float()}
    return TinyMVDream(version, unet, vae, text, state)


def clip_text():
    """The text model of Stable Diffusion 1, from transformers as in the original program."""
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1}
    ends = {"bos_token_id": NUM_WORDS - 2, "eos_token_id": NUM_WORDS - 1, "pad_token_id": None}
    return CLIPTextModel(CLIPTextConfig(vocab_size=NUM_WORDS, hidden_act="quick_gelu", **sizes, **ends))


def write_layout(tiny, layout, folder):
    """Writes `tiny` in one of LAYOUTS to `folder`, which must not exist; returns the path."""
    folder.mkdir()
    write_tokenizer(folder / "tokenizer")
    state = {name: x.contiguous() for name, x in tiny.state.items()}
    match layout:
        case "pt":
            torch.save(state, folder / "model.pt")
            return folder / "model.pt"
        case "nested":
            torch.save({"epoch": 3, "state_dict": state}, folder / "model.ckpt")
            return folder / "model.ckpt"
        case "safetensors":
            save_file(state, folder / "model.safetensors")
            return folder / "model.safetensors"
        case "community" | "community_bin":
            write_community(tiny, folder, folder / "community", binary=layout == "community_bin")
            return folder / "community"
        case "converted":
            convert(write_layout(tiny, "pt", folder / "original"), folder / "converted", torch.float32)
            return folder / "converted"
    raise AssertionError(layout)


def write_community(tiny, folder, target, binary):
    """The diffusers folder whose U-Net has its original names; with `binary`, as older programs wrote it."""
    convert(write_layout(tiny, "pt", folder / "original"), target, torch.float32)
    (target / "sha256.json").unlink()
    shutil.rmtree(target / "unet")
    (target / "unet").mkdir()
    config = {"_class_name": "MultiViewUNetModel", "image_size": 32, "camera_dim": 16, "model_channels": 64}
    (target / "unet" / "config.json").write_text(json.dumps(config))
    unet = {f"unet.{name}" if binary else name: x for name, x in tiny.unet.state_dict().items()}
    if not binary:
        save_file(unet, target / "unet" / "diffusion_pytorch_model.safetensors")
        return
    torch.save(unet, target / "unet" / "diffusion_pytorch_model.bin")
    vae, text = target / "vae" / "diffusion_pytorch_model", target / "text_encoder" / "model"
    tensors = load_file(vae.with_suffix(".safetensors"))
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for name in [name for name in tensors if ".attentions.0." in name]:
        renamed = name
        for new, before in old.items():
            renamed = renamed.replace(f".{new}.", f".{before}.")
        tensors[renamed] = tensors.pop(name)
    torch.save(tensors, vae.with_suffix(".bin"))
    tensors = {name.removeprefix("text_model."): x for name, x in load_file(text.with_suffix(".safetensors")).items()}
    torch.save(tensors, text.with_name("pytorch_model.bin"))
    for path in (vae, text):
        path.with_suffix(".safetensors").unlink()


def write_tokenizer(folder: Path):
    """A byte-pair encoding like CLIP's, with four merges."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(byte) for byte in printable] + [chr(256 + number) for number in range(256 - len(printable))]
    merges = [("r", "e"), ("re", "d</w>"), ("c", "a"), ("ca", "t</w>")]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    assert len(words) == NUM_WORDS
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}), "utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
