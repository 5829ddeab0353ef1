"""Builds networks from the tensors of a checkpoint, after checking that names and shapes match exactly."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sds3d.errors import UserError


@dataclass(frozen=True)
class Section:
    """The tensors of a checkpoint whose names begin with `prefix`; its methods take names without the prefix."""

    content: Mapping[str, Tensor]
    prefix: str
    where: Path  # file or folder, for messages

    def __getitem__(self, name: str) -> Tensor:
        if not self.has(name):
            raise UserError(f"{self.where}: tensor {self.prefix + name} is missing; download or export it again")
        return self.content[self.prefix + name]

    def shape(self, name: str, *ndims: int) -> torch.Size:
        """The shape of a tensor; UserError unless its number of dimensions is one of `ndims`."""
        shape = self[name].shape
        if len(shape) not in ndims:
            raise UserError(
                f"{self.where}: {self.prefix + name}: expected {' or '.join(map(str, ndims))} dimensions, got shape "
                f"{list(shape)}; the file is another model"
            )
        return shape

    def has(self, name: str) -> bool:
        """Whether the tensor `name` exists."""
        return self.prefix + name in self.content

    def holds(self, start: str) -> bool:
        """Whether the name of any tensor begins with `start`."""
        return any(name.startswith(self.prefix + start) for name in self.content)

    @property
    def names(self) -> set[str]:
        """The names of all tensors."""
        return {name.removeprefix(self.prefix) for name in self.content if name.startswith(self.prefix)}


@dataclass(frozen=True)
class Piece:
    """A tensor of a checkpoint, or one of `parts` equal slices of its rows."""

    name: str
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Network:
    """A network of diffusers or transformers, and where its tensors are in a checkpoint."""

    make: Callable[[dict[str, Any]], nn.Module]  # from its config
    config: dict[str, Any]
    section: Section
    source: Callable[[str], Piece]  # from a tensor's name in the network to its piece of the checkpoint
    leftover: Callable[[str], bool] = lambda name: False  # names of unused tensors that the checkpoint may hold


def build(network: Network, device: torch.device, dtype: torch.dtype) -> Any:
    """The frozen network on `device`; tensors are moved one at a time, and stay memory-mapped if nothing changes."""
    model = _empty(network)
    shapes = {name: x.shape for name, x in model.state_dict().items()}
    pieces = {name: network.source(name) for name in shapes}
    _check_names(network, {piece.name for piece in pieces.values()})
    _check_shapes(network, pieces, shapes)
    state = {}
    for name, piece in pieces.items():
        tensor = network.section[piece.name].chunk(piece.parts)[piece.part].reshape(shapes[name])
        # channels-last is the fastest layout for convolutions on a GPU
        channels_last = device.type == "cuda" and tensor.ndim == 4
        layout = torch.channels_last if channels_last else torch.preserve_format
        state[name] = tensor.to(device=device, dtype=dtype, memory_format=layout)
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(False).eval()


def build_empty(make: Callable[[dict[str, Any]], Any], config: dict[str, Any], where: Path | str) -> Any:
    """The network `make(config)` on the meta device; UserError, which begins with `where`, if there is none."""
    try:
        with torch.device("meta"):
            return make(config)
    except Exception as error:  # the libraries raise anything for a config that is nonsense
        reason = " ".join((str(error) or type(error).__name__).split())[:300]
        raise UserError(f"{where}: no network can be built from its config ({reason})") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or torch file, memory-mapped; loading never runs code from the file."""
    try:
        content = _read(path)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: refused: it is damaged, or holds objects other than tensors, which could run code when loaded; "
            "save only its state_dict, preferably as .safetensors"
        ) from error
    except Exception as error:  # a damaged file can make the readers raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: cannot be read ({reason}); download or export it again") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: expected named tensors, got {type(content).__name__}; save only its state_dict")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(f"{path}: expected named tensors, got {type(value).__name__} as {str(name)[:80]!r}")
    return content


def find_tensors(folder: Path) -> Path:
    """The weights file in a subfolder of the diffusers layout; safetensors are preferred."""
    stems = ("diffusion_pytorch_model", "model", "pytorch_model")
    names = [stem + end for end in (".safetensors", ".fp16.safetensors", ".bin", ".fp16.bin") for stem in stems]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder}: no weights; expected one file of {', '.join(names[:2])} or their .bin")


def _read(path: Path) -> object:
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] == b"{":  # a safetensors file: eight bytes of header length, then JSON
        from safetensors.torch import load_file

        return load_file(path)
    mapped = zipfile.is_zipfile(path)  # torch files are zip archives since 1.6; older ones cannot be mapped
    if head.startswith(b"PK") and not mapped:
        raise ValueError("its end is missing")
    return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)


def _empty(network: Network) -> nn.Module:
    """The network on the meta device."""
    return build_empty(network.make, network.config, network.section.where)


def _check_names(network: Network, wanted: set[str]) -> None:
    given = network.section.names
    extra = {name for name in given - wanted if not network.leftover(name)}
    problems = [
        f"{len(names)} {what} ({_some(network.section.prefix, names)})"
        for what, names in (("are missing", wanted - given), ("are unexpected", extra))
        if names
    ]
    if problems:
        raise UserError(
            f"{network.section.where}: of {len(wanted)} expected tensors {' and '.join(problems)}; "
            "the file is not whole, or another model"
        )


def _check_shapes(network: Network, pieces: dict[str, Piece], shapes: dict[str, torch.Size]) -> None:
    for name, piece in pieces.items():
        tensor, where = network.section[piece.name], f"{network.section.where}: {network.section.prefix}{piece.name}"
        rows = shapes[name][0] * piece.parts
        expected = torch.Size((rows, *shapes[name][1:]))
        # a 1 x 1 convolution is a linear layer
        if tensor.shape != expected and tensor.shape != (*expected, 1, 1):
            raise UserError(
                f"{where}: expected the shape {list(expected)}, got {list(tensor.shape)}; the file is another model"
            )
        if not tensor.is_floating_point():
            raise UserError(
                f"{where}: expected floating-point numbers, got {tensor.dtype}; quantized files are not supported"
            )


def _some(prefix: str, names: set[str]) -> str:
    """The first three of `names`, with `prefix`, for messages."""
    shown = ", ".join(prefix + name for name in sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown}, ..."
