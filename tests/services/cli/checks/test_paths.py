"""Checks of output paths: they find what would fail later, and leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet.core.errors import RequestError
from services.cli.checks.paths import check_file, check_folder
from tests.services.command import motet


def test_a_usable_folder_passes_and_is_not_created(tmp_path: Path) -> None:
    check_folder(tmp_path)
    check_folder(tmp_path / "new" / "out")
    check_file(tmp_path / "new" / "report.json")

    assert list(tmp_path.iterdir()) == []


def unusable(folder: Path) -> list[Path]:
    """Return paths that cannot be folders of new files."""
    (folder / "file").write_text("content")
    (folder / "broken").symlink_to(folder / "nowhere")
    return [folder / "file", folder / "file" / "out", folder / "broken", folder / ("x" * 300), Path("/proc/x")]


def test_an_unusable_folder_is_refused_by_name(tmp_path: Path) -> None:
    for path in unusable(tmp_path):
        with pytest.raises(RequestError, match="cannot be written: .*; choose another --out folder"):
            check_folder(path)


def test_an_unusable_file_is_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path, *(folder / "report.json" for folder in unusable(tmp_path))):
        with pytest.raises(RequestError, match=f"{path.name} cannot be written"):
            check_file(path)


@pytest.mark.parametrize("command", [["run", "hello"], ["chat"]])
def test_a_command_refuses_an_unusable_folder_before_it_answers(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("content")

    result = motet(*command, "--toy", "--out", "README.md", stdin="hello\n", folder=tmp_path)

    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("motet: README.md cannot be written: Not a directory")


def test_an_answer_without_media_needs_no_folder(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("content")

    result = motet("run", "hello", "--toy", "--only", "text", "--out", "README.md", folder=tmp_path)

    assert (result.returncode, result.stdout) == (0, "You said: hello.\n")
