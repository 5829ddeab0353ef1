"""Prompt files in every format, and hostile ones."""

import json
from pathlib import Path

import pytest
import yaml

from sds3d.batch.prompts import MAX_BYTES, Row, read_prompts
from sds3d.errors import UserError
from tests.helpers.hostile import HOSTILE

PLAIN = [prompt for prompt in HOSTILE if "\n" not in prompt]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def prompts_of(path: Path) -> list[str]:
    return [row.prompt for row in read_prompts(path)]


def test_each_line_of_a_txt_file_is_a_prompt(tmp_path: Path) -> None:
    path = write(tmp_path, "p.txt", b"\xef\xbb\xbfa red mushroom\r\n\r\n  # 1 duck \n\ttwo  words")
    assert read_prompts(path) == [
        Row("a red mushroom", place="p.txt:1"), Row("# 1 duck", place="p.txt:3"), Row("two  words", place="p.txt:4"),
    ]  # fmt: skip


def test_columns_of_a_csv_file_are_keys_of_the_config(tmp_path: Path) -> None:
    text = 'id, prompt ,seed,mesh.faces\nm1,"a mushroom, red",3,\n,a cube,,5000\n'
    assert read_prompts(write(tmp_path, "p.csv", text)) == [
        Row("a mushroom, red", ("seed=3",), "m1", "p.csv:2"), Row("a cube", ("mesh.faces=5000",), "", "p.csv:3"),
    ]  # fmt: skip


ROWS = [{"prompt": "a mushroom", "id": "m1", "seed": 3, "mesh": {"faces": 500, "grid": 64}}, "a cube"]
READ = [(("seed=3", "mesh.faces=500", "mesh.grid=64"), "m1"), ((), "")]


def test_fields_of_jsonl_and_yaml_are_keys_of_the_config(tmp_path: Path) -> None:
    jsonl = write(tmp_path, "p.jsonl", "\n".join(map(json.dumps, ROWS)))
    listed = write(
        tmp_path, "p.yaml", "- prompt: a mushroom\n  id: m1\n  seed: 3\n  mesh: {faces: 500, grid: 64}\n- a cube\n"
    )
    for path, places in ((jsonl, (1, 2)), (listed, (1, 5))):
        rows = read_prompts(path)
        assert [row.prompt for row in rows] == ["a mushroom", "a cube"]
        assert [(row.overrides, row.label) for row in rows] == READ
        assert [row.place for row in rows] == [f"{path.name}:{line}" for line in places]


def test_prompts_are_opaque_in_every_format(tmp_path: Path) -> None:
    stripped = [prompt.strip() for prompt in PLAIN]
    lines = [prompt for prompt in PLAIN if not prompt.startswith("\ufeff")]  # a file may begin with this mark
    assert prompts_of(write(tmp_path, "p.txt", "\n".join(lines))) == [prompt.strip() for prompt in lines]
    assert prompts_of(write(tmp_path, "p.jsonl", "\n".join(map(json.dumps, PLAIN)))) == stripped
    fields = "\n".join(json.dumps({"prompt": prompt}) for prompt in PLAIN)
    assert prompts_of(write(tmp_path, "p.jsonl", fields)) == stripped
    assert prompts_of(write(tmp_path, "p.yaml", yaml.safe_dump(PLAIN))) == stripped
    cells = "".join('"' + prompt.replace('"', '""') + '"\n' for prompt in PLAIN)
    assert prompts_of(write(tmp_path, "p.csv", "prompt\n" + cells)) == stripped


def test_plain_words_of_yaml_stay_text(tmp_path: Path) -> None:
    assert prompts_of(write(tmp_path, "p.yaml", "- true\n- 1e3\n- 2020-01-01\n- null\n- 1:30\n")) == [
        "true", "1e3", "2020-01-01", "null", "1:30",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.pdf", "x", r"expected a file of prompts ending in \.txt"),
        ("p.txt", "\n \n", "no prompts in it"),
        ("p.txt", b"a\nb\xff\n", "line 2 is not UTF-8"),
        ("p.csv", "name\nx\n", "line 1: expected a column named prompt, got name"),
        ("p.csv", "prompt\na,b\n", "line 2: more cells than columns"),
        ("p.jsonl", '"a"\n{"x": 1}\n', "line 2: expected 'prompt' to be text, got 'None'"),
        ("p.jsonl", '"a"\n[1]\n', "line 2: expected a prompt, or fields"),
        ("p.jsonl", '"a"\n{\n', "line 2: not JSON"),
        ("p.jsonl", "[" * 100_000, "line 1: not JSON"),
        ("p.yaml", "prompt: a\n", "expected a list of prompts"),
        ("p.yaml", "- &a x\n- *a\n", "aliases"),
        ("p.yaml", "- !!python/object:os.system x\n", "line 1: unknown tag"),
        ("p.yaml", "[" * 5000, "not YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_line(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message) as refused:
        read_prompts(write(tmp_path, name, content))
    assert len(str(refused.value)) < 1000 and "\n" not in str(refused.value)


def test_many_bad_rows_are_counted_not_listed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 10: .*; and 990 more$"):
        read_prompts(write(tmp_path, "p.jsonl", "{}\n" * 1000))


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UserError, match="at most 16 MiB"):
        read_prompts(path)
