"""A conversation, typed through a pipe, and what it remembers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motet.core.errors import NotFoundError, RequestError
from motet.core.request import ArtifactName
from motet.core.service import Motet
from motet.media.encode import encode_picture
from services.cli.attachment import Attachment
from services.cli.chat import Chat
from services.cli.conversation import Conversation
from services.cli.deliver import deliver
from services.cli.output_folder import OutputFolder
from services.cli.request_options import RequestOptions
from services.cli.screens.plain_screen import PlainScreen
from services.embedded import embedded
from services.exit_codes import Exit
from services.factory import Factory
from tests.services.command import files_in, motet

PICTURE = Attachment(Path("a.png"), encode_picture(np.zeros((4, 4, 3), np.uint8)))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    (tmp_path / "shown.png").write_bytes(PICTURE.media.data)
    return tmp_path / "shown.png"


async def told(motet: Motet, conversation: Conversation, text: str, folder: Path) -> None:
    request = RequestOptions().request(conversation.messages(text))
    delivery = await deliver(motet, request, OutputFolder(folder), PlainScreen(folder))
    conversation.answered(text, delivery)


async def test_media_of_earlier_turns_stay_part_of_the_conversation(tmp_path: Path) -> None:
    async with embedded(Factory.of_toys()) as motet:
        conversation = Conversation()
        shown = await conversation.attach(PICTURE, motet)

        await told(motet, conversation, "what is this?", tmp_path)
        messages = conversation.messages("and now?")

    assert [message.role for message in messages] == ["user", "assistant", "user"]
    assert messages[0].parts == (ArtifactName(shown.name), "what is this?")
    assert sum(isinstance(part, ArtifactName) for part in messages[1].parts) == 3
    assert messages[2].parts == ("and now?",)


async def test_media_that_the_server_forgot_are_given_back_as_bytes(tmp_path: Path) -> None:
    async with embedded(Factory.of_toys()) as motet:
        conversation = Conversation()
        await motet.delete((await conversation.attach(PICTURE, motet)).name)

        with pytest.raises(NotFoundError) as caught:
            await told(motet, conversation, "what is this?", tmp_path)

    assert conversation.forgotten(caught.value)
    assert conversation.messages("what is this?")[0].parts[0] == PICTURE.media
    assert not conversation.forgotten(caught.value)


async def test_a_chat_goes_on_when_the_server_forgot_its_media(picture: Path, tmp_path: Path) -> None:
    async with embedded(Factory.of_toys()) as motet:
        chat = Chat(motet, RequestOptions(only=frozenset()), tmp_path / "out")
        await chat.take(f"/attach {picture}")
        for turn in chat._conversation._attached:
            assert turn.artifact is not None
            await motet.delete(turn.artifact.name)

        assert await chat.take("what is this?") is Exit.OK


async def test_a_turn_that_was_refused_is_not_part_of_the_conversation(tmp_path: Path) -> None:
    async with embedded(Factory.of_toys()) as motet:
        chat = Chat(motet, RequestOptions(only=frozenset(["smell"])), tmp_path)

        with pytest.raises(RequestError, match="smell"):
            await chat.take("hello")

    assert len(chat._conversation.messages("again")) == 1


def test_a_chat_works_in_a_pipe_and_numbers_its_files_on(tmp_path: Path, picture: Path) -> None:
    typed = f"/image {picture}\nfirst\n\n/help\nsecond\n/reset\n/quit\nnever\n"

    ran = motet("chat", "--toy", "--only", "image", "--out", tmp_path / "out", said=typed)

    assert ran.returncode == 0, ran.stderr
    assert [line for line in ran.stdout.splitlines() if "You said" in line] == [
        "You said: first. Here is one image:",
        "You said: second. Here is one image:",
    ]
    assert "/attach FILE" in ran.stdout
    assert "shown.png is attached: image" in ran.stderr
    assert list(files_in(tmp_path / "out")) == ["01-image.bin", "02-image.bin"]


def test_what_a_chat_cannot_do_is_told_and_the_chat_goes_on(tmp_path: Path, picture: Path) -> None:
    typed = f"/dance\n/audio {picture}\n/attach absent.png\nhello"

    ran = motet("chat", "--toy", "--only", "text", "--out", tmp_path / "out", said=typed)

    assert "You said: hello." in ran.stdout
    assert [line.split(":")[0] for line in ran.stderr.splitlines()[:3]] == ["motet"] * 3
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr


def test_a_byte_that_is_no_text_does_not_end_a_chat(tmp_path: Path) -> None:
    ran = motet("chat", "--toy", "--only", "text", "--out", tmp_path, said="caf\udce9\nhello\n")

    assert ran.stdout.splitlines() == ["You said: caf\ufffd.", "You said: hello."]
    assert ran.returncode == 0
