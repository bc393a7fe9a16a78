"""Standard streams that are closed, full, or have a small encoding: one line, and the right exit code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.services.command import CLEAN, COMMAND, TIMEOUT, files_in

HELLO = ("run", "hello", "--toy", "--out", "out")
FULL = "motet: standard output cannot be written: No space left on device\n"


def redirected(redirection: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with a redirection of the shell."""
    script = f'exec "$@" {redirection}'
    return subprocess.run(
        ["sh", "-c", script, "sh", *COMMAND, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT,
        cwd=folder,
        env=CLEAN,
    )


@pytest.mark.parametrize(
    ("redirection", "arguments", "message"),
    [
        (">&-", HELLO, "standard output is closed"),
        (">&-", ("models", "--toy"), "standard output is closed"),
        ("<&-", ("run", "-", "--toy"), "standard input is closed"),
        ("<&-", ("chat", "--toy"), "standard input is closed"),
    ],
)
def test_a_closed_stream_that_a_command_needs_is_refused_before_its_work(
    redirection: str, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    result = redirected(redirection, *arguments, folder=tmp_path)

    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"motet: {message}, but the command needs it")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [HELLO, (*HELLO, "--json"), ("models", "--toy"), ("--version",), ("run", "--help")]
)
def test_a_full_standard_output_is_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    result = redirected(">/dev/full", *arguments, folder=tmp_path)

    assert result.returncode == 1
    assert result.stderr.endswith(FULL)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "<&- 2>&-"])
def test_without_standard_error_nothing_of_the_answer_is_lost(redirection: str, tmp_path: Path) -> None:
    result = redirected(redirection, *HELLO, folder=tmp_path)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("You said: hello.")
    assert list(files_in(tmp_path / "out")) == ["01-image.bin", "02-audio.bin", "03-video.bin"]


def test_without_standard_error_a_wrong_command_keeps_its_exit_code(tmp_path: Path) -> None:
    assert redirected("2>/dev/full", "run", "--nope", folder=tmp_path).returncode == 2


@pytest.mark.parametrize(("encoding", "text"), [("latin-1", "\\u65e5 \ufffd"), ("ascii", "\\u65e5 \\xfc")])
def test_a_character_that_the_encoding_lacks_is_an_escape(
    encoding: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CLEAN, "PYTHONIOENCODING", encoding)

    result = redirected("", "run", "\u65e5 \u00fc", "--toy", "--only", "text", folder=tmp_path)

    assert (result.returncode, result.stdout) == (0, f"You said: {text}.\n")


def test_a_file_of_a_shell_pipe_can_be_attached(tmp_path: Path) -> None:
    picture = Path(__file__).parents[4] / "examples" / "turtle.png"
    arguments = ("run", "what?", "--toy", "--only", "text", "--image", "/dev/fd/3")

    script = f'cat {picture} | "$@" 3<&0 </dev/null'
    command = ["sh", "-c", script, "sh", *COMMAND, *arguments]
    result = subprocess.run(command, capture_output=True, timeout=TIMEOUT, env=CLEAN, cwd=tmp_path)

    assert result.returncode == 0, result.stderr
