"""What the lines of an OBJ file hold, as arrays."""

from __future__ import annotations

from array import array

from sds3d.errors import UserError
from sds3d.files import megabytes
from sds3d.mesh.importers import solid

MAX_LINES = 6_000_000  # half a million triangles whose corners share nothing need 5 million
MAX_LINE = 1_000_000  # bytes
WHITE = (float("nan"),) * 3


class ObjLines:
    """The faces of a file and all that they refer to; groups and objects are passed over.

    A vertex is a corner of a face together with a material: positions, texture coordinates and normals are numbered
    apart, and colors depend on the material.
    """

    def __init__(self, data: bytes) -> None:
        """Reads all lines; raises UserError that gives the number of one that is malformed."""
        self.positions, self.colors = array("d"), array("d")  # three for each v; the color is NaN if it has none
        self.uvs, self.normals = array("d"), array("d")  # two for each vt, three for each vn
        self.libraries: list[str] = []  # what follows each mtllib
        self.names: list[str] = []  # of the materials that vertices have, "" for none
        self.vertices = array("q")  # four for each: the numbers of v, vt and vn, from 1, 0 for none; which of `names`
        self.corners, self.counts = array("q"), array("q")  # the vertices of all faces; how many each has, at least 3
        self.triangles = 0  # that the faces have, also those that are too many to be kept
        self._known: dict[str, tuple[int, dict[bytes, int]]] = {}  # its number, and its vertices by their texts
        self._name = ""
        # lines end with \n, \r\n or, rarely, \r
        count = max(data.count(b"\n"), data.count(b"\r"))
        if count > MAX_LINES:
            raise UserError(f"has {count:,} lines; expected at most {MAX_LINES:,}; simplify it")
        solid.check_faces(data.count(b"\nf "))
        if b"\\" in data:
            data = data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
        self._read(data.splitlines())

    def _read(self, lines: list[bytes]) -> None:
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_LINE:
                raise UserError(f"line {number:,} has {megabytes(len(line))}; expected at most {megabytes(MAX_LINE)}")
            words = (line.partition(b"#")[0] if b"#" in line else line).split()
            try:
                self._read_line(words, line)
            except (ValueError, IndexError, OverflowError) as error:
                shown = line[:80].decode("utf-8", "replace")
                raise UserError(f"line {number:,} cannot be read: {shown!r}") from error

    def _read_line(self, words: list[bytes], line: bytes) -> None:
        match words[:1]:
            case [b"v"]:
                self.positions.extend((float(words[1]), float(words[2]), float(words[3])))
                # by custom, red, green and blue can follow
                self.colors.extend(map(float, words[4:7]) if len(words) >= 7 else WHITE)
            case [b"vt"]:
                self.uvs.extend((float(words[1]), float(words[2]) if len(words) > 2 else 0.0))
            case [b"vn"]:
                self.normals.extend((float(words[1]), float(words[2]), float(words[3])))
            case [b"f"] if len(words) > 3:  # fewer corners are a line or a point
                self.triangles += len(words) - 3
                if self.triangles <= solid.MAX_FACES:
                    self._face(words[1:])
            case [b"usemtl"]:
                self._name = _rest(line)
            case [b"mtllib"]:
                self.libraries.append(_rest(line))

    def _face(self, words: list[bytes]) -> None:
        if self._name not in self._known:
            self._known[self._name] = len(self.names), {}
            self.names.append(self._name)
        material, known = self._known[self._name]
        for word in words:
            vertex = known.get(word)
            if vertex is None:
                vertex = len(self.vertices) // 4
                numbers = [int(text) if text else 0 for text in (word + b"//").split(b"/")[:3]]
                if b"-" in word:
                    numbers = self._counted_back(numbers)
                else:
                    known[word] = vertex
                self.vertices.extend((*numbers, material))
            self.corners.append(vertex)
        self.counts.append(len(words))

    def _counted_back(self, numbers: list[int]) -> list[int]:
        """`numbers` of v, vt and vn, of which negative ones count back from the last line before the face."""
        counts = (len(self.positions) // 3, len(self.uvs) // 2, len(self.normals) // 3)
        return [number + count + 1 if number < 0 else number for number, count in zip(numbers, counts, strict=True)]


def _rest(line: bytes) -> str:
    """What follows the first word of a line; it may have spaces."""
    return (line.split(None, 1) + [b""])[1].decode("utf-8", "replace").strip()
