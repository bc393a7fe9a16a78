"""The complete answer: its typed parts and its files."""

from __future__ import annotations

from pathlib import Path

from motet.answers.answer import Answer, MediaPart, TextPart
from motet.core.media import Media
from tests.scripted_motet import PICTURE, done

SMELL = Media("application/x-smell", b"s")
PARTS = (TextPart(0, "hi "), MediaPart(1, "image", PICTURE), TextPart(2, "there"), MediaPart(3, "smell", SMELL))
ANSWER = Answer(PARTS, done().generation, 7)


def test_an_answer_has_its_text_and_the_bytes_of_its_media() -> None:
    assert ANSWER.text == "hi there"
    assert [part.data for part in ANSWER.media] == [PICTURE.data, b"s"]
    assert [part.media_type for part in ANSWER.media] == ["image/png", "application/x-smell"]


def test_a_second_answer_in_a_folder_continues_its_numbers(tmp_path: Path) -> None:
    first, second = ANSWER.save(tmp_path / "new"), ANSWER.save(tmp_path / "new")

    assert [path.name for path in first] == ["01-image.png", "02-smell.smell", "03-text.txt"]
    assert [path.name for path in second] == ["04-image.png", "05-smell.smell", "06-text.txt"]
    for paths in (first, second):
        assert [path.read_bytes() for path in paths] == [PICTURE.data, b"s", b"hi there"]


def test_an_answer_without_text_saves_its_media_only(tmp_path: Path) -> None:
    assert [path.name for path in Answer(PARTS[1:2], done().generation, 7).save(tmp_path)] == ["01-image.png"]
