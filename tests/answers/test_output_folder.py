"""The output folder: complete files with consecutive numbers, and no overwriting, whatever else is in the folder."""

from __future__ import annotations

import errno
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from motet.answers.output_folder import OutputFolder
from motet.core.errors import RequestError


def write_next(folder: OutputFolder, content: bytes = b"complete") -> Path:
    path = folder.reserve("image", "image/png")
    folder.write(path, content)
    return path


def test_files_are_named_by_number_and_modality(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "new" / "out") as folder:
        names = [
            folder.reserve(*kind).name
            for kind in (
                ("image", "image/png"),
                ("audio", "audio/wav"),
                ("audio", "audio/mpeg"),
                ("video", "video/mp4"),
                ("smell", "application/octet-stream"),
                ("text", "text/plain"),
            )
        ]

    assert names == ["01-image.png", "02-audio.wav", "03-audio.mp3", "04-video.mp4", "05-smell.bin", "06-text.txt"]
    assert list((tmp_path / "new" / "out").iterdir()) == []


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
    with OutputFolder(tmp_path) as folder:
        assert folder.reserve(modality, f"image/{modality}") == tmp_path / "01-part.bin"


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")

    with pytest.raises(RequestError, match=r"out cannot be used.*choose another folder"):
        OutputFolder(tmp_path / "out").reserve("image", "image/png")


def test_writers_of_one_folder_get_different_numbers(tmp_path: Path) -> None:
    first, second = OutputFolder(tmp_path), OutputFolder(tmp_path)

    paths = [folder.reserve("image", "image/png") for folder in (first, second, first)]
    second.write(paths[1], b"second")
    for path in (paths[0], paths[2]):
        first.write(path, b"first")

    assert [path.name for path in paths] == ["01-image.png", "02-image.png", "03-image.png"]
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"first", b"second", b"first"]


def test_no_file_of_concurrent_writers_is_lost(tmp_path: Path) -> None:
    def write_ten(writer: int) -> list[Path]:
        # A new folder object for each file, so that each call finds its number in the folder.
        return [OutputFolder(tmp_path).save("image", "image/png", b"%d" % writer) for _ in range(10)]

    with ThreadPoolExecutor(8) as executor:
        written = [path for paths in executor.map(write_ten, range(8)) for path in paths]

    assert sorted(written) == sorted(tmp_path.iterdir())
    assert len({path.name[:2] for path in written}) == 80
    assert Counter(path.read_bytes() for path in written) == {b"%d" % writer: 10 for writer in range(8)}


@pytest.mark.parametrize("target", ["victim", "absent"])
def test_a_planted_link_is_not_followed(target: str, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"mine")
    out = tmp_path / "out"
    out.mkdir()
    for name in (".01.part", "02-image.png"):
        (out / name).symlink_to(tmp_path / target)

    path = write_next(OutputFolder(out))

    assert path.name == "03-image.png"
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "victim"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_hard_links_gets_the_files(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    folder = OutputFolder(tmp_path)
    path = folder.reserve("image", "image/png")
    path.write_bytes(b"mine")

    with pytest.raises(RequestError, match=r"01-image\.png cannot be written"):
        folder.write(path, b"theirs")
    assert write_next(folder).name == "02-image.png"
    assert [entry.read_bytes() for entry in sorted(tmp_path.iterdir())] == [b"mine", b"complete"]


def test_a_number_that_was_not_used_is_released(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as folder:
        folder.reserve("image", "image/png")

    assert write_next(OutputFolder(tmp_path)).name == "01-image.png"
