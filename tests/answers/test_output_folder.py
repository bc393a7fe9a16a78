"""The output folder: complete files with consecutive numbers, and no overwriting."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet.answers.output_folder import OutputFolder
from motet.core.errors import RequestError


def write_next(folder: OutputFolder, content: bytes = b"complete") -> Path:
    path = folder.reserve("image", "image/png")
    folder.write(path, content)
    return path


def test_files_are_named_by_number_and_modality(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "new" / "out")

    names = [
        folder.reserve(*kind).name
        for kind in (
            ("image", "image/png"),
            ("audio", "audio/wav"),
            ("audio", "audio/mpeg"),
            ("video", "video/mp4"),
            ("smell", "application/octet-stream"),
        )
    ]

    assert names == ["01-image.png", "02-audio.wav", "03-audio.mp3", "04-video.mp4", "05-smell.bin"]
    assert not (tmp_path / "new").exists()


def test_numbers_continue_after_existing_files(tmp_path: Path) -> None:
    (tmp_path / "07-image.png").write_bytes(b"mine")

    assert write_next(OutputFolder(tmp_path)).name == "08-image.png"
    assert (tmp_path / "07-image.png").read_bytes() == b"mine"


def test_a_file_that_appeared_after_the_reservation_is_not_overwritten(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    path = folder.reserve("image", "image/png")
    path.write_bytes(b"mine")

    with pytest.raises(RequestError, match=r"01-image\.png cannot be written"):
        folder.write(path, b"theirs")

    assert path.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [path]


def test_a_complete_file_leaves_no_draft(tmp_path: Path) -> None:
    path = write_next(OutputFolder(tmp_path))

    assert path.read_bytes() == b"complete"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("modality", ["../../etc/cron", "a/b", "", "A B", "x" * 99])
def test_a_server_cannot_name_a_file_outside_the_folder(tmp_path: Path, modality: str) -> None:
    folder = OutputFolder(tmp_path)

    assert folder.reserve(modality, f"image/{modality}") == tmp_path / "01-part.bin"


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")

    with pytest.raises(RequestError, match=r"out cannot be used.*--out"):
        OutputFolder(tmp_path / "out").reserve("image", "image/png")
