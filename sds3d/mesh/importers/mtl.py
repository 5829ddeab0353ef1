"""MTL files: the diffuse colors and pictures of OBJ materials."""

from __future__ import annotations

from dataclasses import dataclass

from sds3d.errors import UserError

# The options of map_Kd, and how many values each has at most
OPTIONS = {
    "-blendu": 1, "-blendv": 1, "-boost": 1, "-bm": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1, "-mm": 2, "-o": 3,
    "-s": 3, "-t": 3, "-texres": 1, "-type": 1,
}  # fmt: skip
NUMBERS = ("-o", "-s", "-t")  # of these, values after the first can be left out


@dataclass
class Material:
    """What an MTL file says of a material that is drawn matte."""

    diffuse: tuple[float, float, float] = (1.0, 1.0, 1.0)  # sRGB by custom
    picture: str | None = None  # file name
    scale: tuple[float, float] = (1.0, 1.0)  # of texture coordinates
    offset: tuple[float, float] = (0.0, 0.0)  # of texture coordinates, after the scale


def parse_mtl(data: bytes) -> dict[str, Material]:
    """The materials of an MTL file by name."""
    materials: dict[str, Material] = {}
    material = Material()
    for line in data.decode("utf-8", "replace").splitlines():
        key, _, rest = line.strip().partition(" ") if " " in line.strip() else line.strip().partition("\t")
        rest = rest.strip()
        if key.lower() == "newmtl":
            material = materials[rest] = Material()
        elif key.lower() == "kd":
            material.diffuse = _color(rest)
        elif key.lower() == "map_kd":
            _read_map(material, rest)
    return materials


def _color(text: str) -> tuple[float, float, float]:
    try:
        values = [float(word) for word in text.split()[:3]]
    except ValueError:
        values = []
    if not values:
        raise UserError(f"its MTL has the color {text[:40]!r}; expected three numbers")
    red, green, blue = (values * 3)[:3] if len(values) == 1 else (*values, 0.0)[:3]
    return red, green, blue


def _read_map(material: Material, text: str) -> None:
    """Reads `text`, the options and the file name of a map_Kd; the name may have spaces."""
    words = text.split()
    used = 0
    while used < len(words) and (name := words[used].lower()) in OPTIONS:
        first = used = used + 1
        while used < min(first + OPTIONS[name], len(words)) and (name not in NUMBERS or _is_number(words[used])):
            used += 1
        if name in NUMBERS[:2]:
            default = 1.0 if name == "-s" else 0.0
            u, v = [*(float(word) for word in words[first:used]), default, default][:2]
            material.scale, material.offset = ((u, v), material.offset) if name == "-s" else (material.scale, (u, v))
    material.picture = text.split(None, used)[used] if used < len(words) else None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
