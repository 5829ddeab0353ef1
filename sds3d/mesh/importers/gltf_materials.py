"""The base colors of a glTF file's materials: all that is used of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sds3d.errors import UserError
from sds3d.mesh.importers.beside import open_picture
from sds3d.mesh.importers.gltf_arrays import Arrays, load_uri
from sds3d.mesh.importers.gltf_header import entry

SPECULAR_GLOSSINESS = "KHR_materials_pbrSpecularGlossiness"
TRANSFORM = "KHR_texture_transform"


@dataclass(frozen=True)
class BaseColor:
    """A material's base color: a factor times a texture."""

    factor: np.ndarray  # [3] linear
    picture: int = 0  # index in `Materials.pictures`; 0 is white
    uv_set: int = 0  # n of TEXCOORD_n
    uv_matrix: np.ndarray | None = None  # [2, 3], maps (u, v, 1) with v down; None: as they are


class Materials:
    """The base color of each material, and all pictures that they use."""

    def __init__(self, header: dict[str, Any], arrays: Arrays) -> None:
        self.header, self.arrays = header, arrays
        self.pictures: list[Any] = [None]  # PIL images
        self.colors: dict[int | None, BaseColor] = {None: BaseColor(np.ones(3))}
        self.places: dict[int, int] = {}  # of the header's images in `pictures`

    def base_color(self, index: Any) -> BaseColor:
        """The base color of a material; white for None, as the glTF specification says."""
        if index not in self.colors:
            factor, texture = _factor_and_texture(entry(self.header, "materials", index))
            self.colors[index] = BaseColor(factor) if texture is None else self._textured(factor, texture)
        return self.colors[index]

    def _textured(self, factor: np.ndarray, texture: dict[str, Any]) -> BaseColor:
        transform = texture.get("extensions", {}).get(TRANSFORM)
        uv_set = texture.get("texCoord", 0)
        if transform is not None:
            uv_set = transform.get("texCoord", uv_set)
        matrix = None if transform is None else _uv_matrix(transform)
        return BaseColor(factor, self._picture(texture["index"]), uv_set, matrix)

    def _picture(self, index: Any) -> int:
        texture = entry(self.header, "textures", index)
        webp = texture.get("extensions", {}).get("EXT_texture_webp", {})
        source = texture.get("source", webp.get("source"))
        if source is None:
            raise UserError("has a texture that cannot be read; expected PNG, JPEG or WebP")
        if source not in self.places:
            self.pictures.append(self._load(entry(self.header, "images", source)))
            self.places[source] = len(self.pictures) - 1
        return self.places[source]

    def _load(self, image: dict[str, Any]) -> Any:
        if "bufferView" not in image and not image["uri"].startswith("data:"):
            return self.arrays.beside.picture(image["uri"])
        in_view = "bufferView" in image
        data = bytes(self.arrays.view(image["bufferView"])) if in_view else load_uri(image["uri"], self.arrays.beside)
        try:
            return open_picture(data)
        except UserError as error:
            raise UserError("has a texture that cannot be read; expected PNG, JPEG or WebP") from error


def _factor_and_texture(material: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any] | None]:
    """The base color's factor [3] and texture.

    A material can describe itself twice, in the core's terms and in those of the older specular-glossiness extension.
    The core's are what its author meant for programs without the extension. Where they say nothing, the diffuse
    color stands in for the base color; it is exact for materials other than metals.
    """
    core = material.get("pbrMetallicRoughness", {})
    older = material.get("extensions", {}).get(SPECULAR_GLOSSINESS, {})
    pairs = [(core, "baseColorFactor", "baseColorTexture"), (older, "diffuseFactor", "diffuseTexture")]
    named = [pair for pair in pairs if pair[2] in pair[0]] or [pair for pair in pairs if pair[1] in pair[0]] or pairs
    source, factor, texture = named[0]
    values = np.array(source.get(factor, [1.0, 1.0, 1.0]), np.float64)
    if values.ndim != 1 or len(values) < 3:
        raise UserError(f"has a {factor} that is not a color")
    return values[:3], source.get(texture)


def _uv_matrix(transform: dict[str, Any]) -> np.ndarray:
    """The matrix [2, 3] of a KHR_texture_transform: scale, then rotation, then offset.

    A positive angle turns coordinates counterclockwise as seen on the picture, whose v points down. The extension's
    GLSL has the opposite sign; its example, its test model and its implementations have this one.
    """
    (sx, sy), angle = transform.get("scale", (1, 1)), transform.get("rotation", 0)
    (x, y), cos, sin = transform.get("offset", (0, 0)), math.cos(angle), math.sin(angle)
    return np.array([[cos * sx, sin * sy, x], [-sin * sx, cos * sy, y]], np.float64)
