"""Text that enters or leaves the program has a stated encoding: it does not depend on the user's locale."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
METHODS = {"read_text": 0, "write_text": 1}  # of Path, with the position of `encoding` in their arguments
OTHERS = {"Image", "os", "RunFolder"}  # their `open` opens no text file


def without_encoding(source: str) -> Iterator[int]:
    """Lines of the calls in `source` that read or write text in the encoding of the locale."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        words = {word.arg: ast.unparse(word.value) for word in node.keywords}
        arguments = [ast.unparse(argument) for argument in node.args]
        owner, _, name = ast.unparse(node.func).rpartition(".")
        if "encoding" in words:
            continue
        is_text = "True" in (words.get("text"), words.get("universal_newlines"))
        if name in METHODS:
            is_text = len(arguments) <= METHODS[name]
        elif name == "open" and owner not in OTHERS:
            mode = words.get("mode") or next(iter(arguments[0 if owner else 1 :]), "'r'")
            is_text = "b" not in mode
        if is_text:
            yield node.lineno


@pytest.mark.parametrize("folder", ["sds3d", "benchmarks", "tests/tools"])
def test_text_has_an_encoding(folder: str) -> None:
    files = [*(ROOT / folder).rglob("*.py")]
    found = [f"{path.relative_to(ROOT)}:{line}" for path in files for line in without_encoding(path.read_text("utf-8"))]
    assert files and not found


@pytest.mark.parametrize(
    ("call", "is_found"),
    [
        ("path.read_text()", True),
        ("path.read_text('utf-8')", False),
        ("path.write_text('x')", True),
        ("path.write_text('x', 'utf-8')", False),
        ("path.write_text('x', encoding='utf-8')", False),
        ("open(path)", True),
        ("open(path, 'rb')", False),
        ("path.open('w')", True),
        ("path.open('wb')", False),
        ("path.open()", True),
        ("os.open(path, os.O_RDONLY)", False),
        ("subprocess.run(x, text=True)", True),
        ("subprocess.run(x, encoding='utf-8')", False),
    ],
)
def test_the_search_finds_what_it_should(call: str, is_found: bool) -> None:
    assert bool([*without_encoding(call)]) == is_found
