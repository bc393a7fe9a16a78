"""Attached files: accepted types, and errors that name the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet.core.errors import MediaError, Reason
from motet.media.limits import DEFAULT_LIMITS
from services.cli.attachment import read_attachment

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def test_the_bytes_and_not_the_name_determine_the_type(tmp_path: Path) -> None:
    (tmp_path / "picture.txt").write_bytes(PNG)

    media = read_attachment(tmp_path / "picture.txt", "image").media

    assert (media.media_type, media.data) == ("image/png", PNG)


def test_a_text_file_named_png_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("just words")

    with pytest.raises(MediaError, match=r"notes\.png.*png, jpeg") as caught:
        read_attachment(tmp_path / "notes.png")

    assert caught.value.reason is Reason.UNSUPPORTED_MEDIA_TYPE


def test_the_error_for_a_wrong_modality_names_the_right_option(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)

    with pytest.raises(MediaError, match="holds image, not audio: attach it with --image"):
        read_attachment(tmp_path / "a.png", "audio")


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.png", tmp_path):
        with pytest.raises(MediaError, match=f"{path.name} is not a file"):
            read_attachment(path)


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(DEFAULT_LIMITS.bytes + 1)

    with pytest.raises(MediaError, match="at most") as caught:
        read_attachment(large)

    assert caught.value.reason is Reason.INPUT_TOO_LARGE
