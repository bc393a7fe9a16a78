"""Attached files: accepted types, and errors that name the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from motet.core.errors import MediaError, Reason
from motet.media.limits import DEFAULT_LIMITS
from services.cli.attachment import ATTACH_OPTIONS, Attach, attachments_of, read_attachment
from services.cli.commands import OrderedCommand, typed_order
from services.cli.typer_options import with_options

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


def test_a_pipe_can_be_attached_and_a_device_cannot(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as file:
        file.write(PNG)

    assert read_attachment(Path(f"/dev/fd/{reader}")).media.data == PNG
    os.close(reader)
    with pytest.raises(MediaError, match="zero is not a file: it is a device"):
        read_attachment(Path("/dev/zero"))


def test_a_folder_and_a_missing_file_have_different_errors(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="is not a file: it is a folder"):
        read_attachment(tmp_path)
    with pytest.raises(MediaError, match="is not a file: it does not exist"):
        read_attachment(tmp_path / "nowhere.png")


def test_attachments_have_the_order_of_the_command_line(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in "abcde"}
    for file in files.values():
        file.write_bytes(PNG + file.name.encode())
    sound = tmp_path / "sound"
    sound.write_bytes(b"RIFF\x24\0\0\0WAVEfmt " + bytes(20))
    seen: list[str] = []
    app = typer.Typer()

    @app.command(cls=OrderedCommand)
    @with_options(ATTACH_OPTIONS)
    def attach(context: typer.Context, prompt: str, attach: Attach = None, **options: Any) -> None:
        """Record the names of the files."""
        seen.extend(file.path.name for file in attachments_of(options, attach, typed_order(context)))

    typed = ["--audio", sound, "--image", files["b"], "--attach", files["c"], "prompt", "--image", files["a"]]
    result = CliRunner().invoke(app, [*map(str, typed), "--attach", str(sound)])

    assert result.exit_code == 0, result.output
    assert seen == ["sound", "b", "c", "a", "sound"]
