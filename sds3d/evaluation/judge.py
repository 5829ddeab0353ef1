"""Judges: models that score how well a text fits a picture, and that guide no optimization."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sds3d.errors import UserError
from sds3d.evaluation.letters import pieces
from sds3d.evaluation.towers import RESOLUTION, Towers
from sds3d.files import atomic_write
from sds3d.imaging.resize import resize
from sds3d.priors.pretrained import read_json
from sds3d.priors.quantize import load_int8, save_int8
from sds3d.priors.weights import MANIFEST, file_sha256, verify

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPTokenizer

TRAIN = "python -m sds3d.evaluation.train_judge --out FOLDER"
OURS = "sds3d-judge"
WEIGHTS = "weights.int8.safetensors"
# red, green, blue of CLIP's training pictures (arXiv:2103.00020, its published preprocessing)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class Judge(Protocol):
    """Embeds pictures and texts on one sphere; matching pairs are close."""

    name: str  # for a table

    def embed_images(self, images: Tensor) -> Tensor: ...  # square, [N, 3, H, H] in [0, 1] -> unit vectors [N, D]

    def embed_texts(self, texts: Sequence[str]) -> Tensor: ...  # unit vectors [P, D]


class TowersJudge:
    """The dual encoder of this package, which `train_judge` trains independently of any prior."""

    name = "our dual encoder"

    def __init__(self, towers: Towers, device: torch.device) -> None:
        self.towers, self.device = towers.to(device).requires_grad_(False).eval(), device

    @torch.no_grad()
    def embed_images(self, images: Tensor) -> Tensor:
        """Unit vectors [N, D]; pictures of another size are resized to RESOLUTION, antialiased."""
        return self.towers.images(resize(images.to(self.device), RESOLUTION))

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [P, D]; case, punctuation and words after the 24th are ignored."""
        return self.towers.texts(pieces(texts).to(self.device))


class ClipJudge:
    """A CLIP model in a local folder."""

    def __init__(self, model: CLIPModel, tokenizer: CLIPTokenizer, name: str, device: torch.device) -> None:
        module: nn.Module = model  # a decorator hides the type of its `to`
        module.to(device).requires_grad_(False).eval()
        self.model, self.tokenizer, self.name, self.device = model, tokenizer, name, device
        self.size: int = model.vision_model.config.image_size
        self.max_tokens: int = model.text_model.config.max_position_embeddings
        self.mean, self.std = (torch.tensor(x, device=device)[:, None, None] for x in (CLIP_MEAN, CLIP_STD))

    @torch.no_grad()
    def embed_images(self, images: Tensor) -> Tensor:
        """Unit vectors [N, D]; pictures are resized to the model's size, bicubic and antialiased, and not cropped."""
        size = (self.size, self.size)
        images = F.interpolate(images.to(self.device), size, mode="bicubic", align_corners=False, antialias=True)
        states = self.model.vision_model(pixel_values=(images.clamp(0, 1) - self.mean) / self.std)
        return F.normalize(self.model.visual_projection(states.pooler_output), dim=-1)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [P, D]; tokens after the model's last position (the 77th) are ignored."""
        tokens = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self.device)
        states = self.model.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        return F.normalize(self.model.text_projection(states.pooler_output), dim=-1)


def load_judge(folder: Path, device: torch.device) -> Judge:
    """The judge in `folder`: one of `train_judge`, or a CLIP model in the layout of transformers; else UserError."""
    kind = read_config(folder).get("model_type")
    if kind == OURS:
        return load_towers(folder, device)
    if kind == "clip":
        return _load_clip(folder, device)
    raise UserError(
        f"{folder / 'config.json'}: expected model_type {OURS} or clip, got {kind!r}; "
        f"give the folder of a CLIP model, or train a judge with `{TRAIN}`"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """The content of `folder`/config.json; UserError if it is missing or unreadable."""
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder}: no judge there (no config.json); train one with `{TRAIN}`, or give a CLIP folder")
    return read_json(path, f"train a judge with `{TRAIN}`")


def save_towers(towers: Towers, sizes: dict[str, Any], pool: str, folder: Path) -> None:
    """Write a folder for `load_towers`; `sizes` are the arguments of Towers, `pool` the id of the held-out pool."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": OURS, "sizes": sizes, "pool": pool}
    atomic_write(folder / "config.json", json.dumps(config, indent=2) + "\n")
    atomic_write(folder / WEIGHTS, lambda partial: save_int8(towers.state_dict(), partial))
    manifest = {name: file_sha256(folder / name) for name in ("config.json", WEIGHTS)}
    atomic_write(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def load_towers(folder: Path, device: torch.device) -> TowersJudge:
    """The judge that `save_towers` wrote, after a check of its checksums."""
    verify(folder, f"make it again with `{TRAIN}`")
    towers = Towers(**read_config(folder)["sizes"])
    towers.load_state_dict(load_int8(folder / WEIGHTS))
    return TowersJudge(towers, device)


def _load_clip(folder: Path, device: torch.device) -> ClipJudge:
    from transformers import CLIPModel, CLIPTokenizer

    try:
        # a Path of an existing folder is never taken for a repository, and pickles are not read
        model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{folder}: no usable CLIP model ({reason}); "
            "it needs config.json, model.safetensors and the tokenizer's files"
        ) from error
    return ClipJudge(model, tokenizer, f"CLIP ({folder.resolve().name})", device)
