"""What a message quotes may be hostile: it stays one short line that moves no cursor."""

import errno

import pytest
import torch

from sds3d.cli.main import main
from sds3d.errors import MAX_MESSAGE, UserError, as_user_error, lacking_memory, memory_for


def test_a_short_message_is_unchanged() -> None:
    text = "seed: expected a whole number, got 'ä 🍄'; write seed=1" + "x" * (MAX_MESSAGE - 60)
    assert str(UserError(text)) == text


def test_a_long_message_keeps_its_beginning_and_end() -> None:
    text = str(UserError("config.yaml: " + "!" * 1_000_000 + "; write seed=1"))
    assert text.startswith("config.yaml: !!!") and text.endswith("!!!; write seed=1")
    assert len(text) <= MAX_MESSAGE


def test_a_message_is_one_line_without_control_characters() -> None:
    assert str(UserError("a\nb\r\nc\u2028d \x1b[2J\x07\x9b \t")) == "a b c d \\x1b[2J\\x07\\x9b \\t"


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000, "x\x1b[2J"])
def test_no_file_name_causes_a_traceback(name, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (
        ["generate", "a chair", "--config", name],
        ["generate", "a chair", f"prior.path={name}"],
        ["generate", "a chair", "--prior", name],
        ["resume", name],
        ["export", name],
        ["estimate", "--config", name],
        ["prior", "verify", name],
        ["generate", "a chair", f"out={name}/" + "y" * 300],
    ):
        assert main(command) == 2, command
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and "\x1b" not in error
        assert len(error) <= MAX_MESSAGE + 10


def huge_tensor() -> torch.Tensor:
    return torch.empty(1 << 60, dtype=torch.uint8)


LACKS = [
    (MemoryError(), "memory"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
    (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "memory"),
    (OSError("libx.so: cannot allocate memory in static TLS block"), "memory"),
    (RuntimeError("can't start new thread"), "memory"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."), "GPU memory"),
    (RuntimeError("CUDA driver, cuModuleLoadData: out of memory (CUDA_ERROR_OUT_OF_MEMORY)"), "GPU memory"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "GPU memory"),
]


@pytest.mark.parametrize(("error", "memory"), LACKS, ids=lambda value: str(value)[:30])
def test_out_of_memory_errors_of_all_sources_are_recognized(error: Exception, memory: str) -> None:
    assert lacking_memory(error) == memory
    assert str(as_user_error(error)).startswith(f"out of {memory}; ")
    with (
        pytest.raises(UserError, match=f"^stage shape: out of {memory}; lower it$") as caught,
        memory_for("stage shape", "lower it"),
    ):
        raise error
    assert caught.value.__cause__ is error


def test_a_tensor_that_is_too_large_is_out_of_memory() -> None:
    with pytest.raises(UserError, match="^here: out of memory; there$"), memory_for("here", "there"):
        huge_tensor()


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes do not match"), KeyError("memory"), OSError("x"), SystemError()]
)
def test_other_errors_are_unchanged(error: Exception) -> None:
    assert as_user_error(error) is None
    with pytest.raises(type(error)), memory_for("here", "there"):
        raise error


def test_the_command_line_reports_out_of_memory(monkeypatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("sds3d.cli.doctor.examine", huge_tensor)
    assert main(["doctor"]) == 2
    assert capsys.readouterr().err.startswith("error: out of memory; end other programs or lower the settings ")
    with pytest.raises(RuntimeError, match="allocate"):
        main(["doctor", "--debug"])
