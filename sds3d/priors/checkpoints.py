"""Networks from the tensors of a checkpoint: every one that they need, no others, each of the right shape."""

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
    """The tensors of a checkpoint whose names begin with `prefix`; they are spoken of by the rest of their names."""

    content: Mapping[str, Tensor]
    prefix: str
    where: Path  # file or folder, for messages

    def __getitem__(self, name: str) -> Tensor:
        if not self.has(name):
            raise UserError(f"{self.where}: tensor {self.prefix + name} is missing; download or export it again")
        return self.content[self.prefix + name]

    def shape(self, name: str, *ndims: int) -> torch.Size:
        """The shape of a tensor, which must have one of `ndims` dimensions."""
        shape = self[name].shape
        if len(shape) not in ndims:
            raise UserError(
                f"{self.where}: {self.prefix + name}: expected {' or '.join(map(str, ndims))} dimensions, got shape "
                f"{list(shape)}; the file is another model"
            )
        return shape

    def has(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return self.prefix + name in self.content

    def holds(self, start: str) -> bool:
        """Whether there is a tensor whose name begins so."""
        return any(name.startswith(self.prefix + start) for name in self.content)

    @property
    def names(self) -> set[str]:
        """The names of all tensors."""
        return {name.removeprefix(self.prefix) for name in self.content if name.startswith(self.prefix)}


@dataclass(frozen=True)
class Piece:
    """A tensor of a checkpoint, or one of the equal parts that its rows are cut into."""

    name: str
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Network:
    """What it takes to build one network of diffusers or transformers."""

    make: Callable[[dict[str, Any]], nn.Module]  # from its config
    config: dict[str, Any]
    section: Section
    source: Callable[[str], Piece]  # the piece of the checkpoint that a tensor of the network is
    leftover: Callable[[str], bool] = lambda name: False  # tensors that the checkpoint may hold without a use


def build(network: Network, device: torch.device, dtype: torch.dtype) -> Any:
    """The network, frozen, on `device`; its tensors go there one at a time, and where nothing changes stay mapped."""
    model = _empty(network)
    shapes = {name: x.shape for name, x in model.state_dict().items()}
    pieces = {name: network.source(name) for name in shapes}
    _check_names(network, {piece.name for piece in pieces.values()})
    _check_shapes(network, pieces, shapes)
    state = {}
    for name, piece in pieces.items():
        tensor = network.section[piece.name].chunk(piece.parts)[piece.part].reshape(shapes[name])
        # the layout that convolutions on a GPU are fastest with
        channels_last = device.type == "cuda" and tensor.ndim == 4
        layout = torch.channels_last if channels_last else torch.preserve_format
        state[name] = tensor.to(device=device, dtype=dtype, memory_format=layout)
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(False).eval()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of safetensors or torch, mapped rather than read; nothing in it can run."""
    try:
        content = _read(path)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: refused: it is damaged, or holds objects other than tensors, which could run code when loaded; "
            "save its state_dict alone, best as .safetensors"
        ) from error
    except Exception as error:  # a damaged file can make the readers raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: cannot be read ({reason}); download or export it again") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: expected named tensors, got {type(content).__name__}; save its state_dict alone")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(f"{path}: expected named tensors, got {type(value).__name__} as {str(name)[:80]!r}")
    return content


def find_tensors(folder: Path) -> Path:
    """The file of weights in a sub-folder of the diffusers layout, safetensors first."""
    stems = ("diffusion_pytorch_model", "model", "pytorch_model")
    names = [stem + end for end in (".safetensors", ".fp16.safetensors", ".bin", ".fp16.bin") for stem in stems]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder}: no weights; expected one file of {', '.join(names[:2])} or their .bin")


def _read(path: Path) -> object:
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] == b"{":  # after eight bytes of its length, the header of safetensors
        from safetensors.torch import load_file

        return load_file(path)
    mapped = zipfile.is_zipfile(path)  # as torch has written since 1.6; what came before cannot be mapped
    if head.startswith(b"PK") and not mapped:
        raise ValueError("its end is missing")
    return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)


def _empty(network: Network) -> nn.Module:
    """The network without values."""
    try:
        with torch.device("meta"):
            return network.make(network.config)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{network.section.where}: no network can be built of its config ({reason})") from error


def _check_names(network: Network, wanted: set[str]) -> None:
    given = network.section.names
    extra = {name for name in given - wanted if not network.leftover(name)}
    problems = [
        f"{len(names)} {what} ({_some(network.section.prefix, names)})"
        for what, names in (("are missing", wanted - given), ("others are there", extra))
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
        # a convolution of one pixel is a linear layer
        if tensor.shape != expected and tensor.shape != (*expected, 1, 1):
            raise UserError(
                f"{where}: expected the shape {list(expected)}, got {list(tensor.shape)}; the file is another model"
            )
        if not tensor.is_floating_point():
            raise UserError(f"{where}: expected floating-point numbers, got {tensor.dtype}; quantized files do not do")


def _some(prefix: str, names: set[str]) -> str:
    """The first few of `names`."""
    shown = ", ".join(prefix + name for name in sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown}, ..."
