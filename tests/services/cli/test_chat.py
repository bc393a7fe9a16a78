"""`motet chat`: turns, commands and the history of a conversation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motet.answers.output_folder import OutputFolder
from motet.core.errors import NotFoundError, Reason, RequestError
from motet.core.events import State
from motet.core.request import ArtifactName
from motet.core.service import Motet
from motet.media.encode import encode_picture
from services.cli.attachment import Attachment
from services.cli.chat import Chat
from services.cli.conversation import ChatConversation
from services.cli.deliver import deliver
from services.cli.request_options import RequestOptions
from services.cli.screens.plain_screen import PlainScreen
from services.embedded import embedded
from services.exit_codes import Exit
from services.factory import Factory
from tests.scripted_motet import ScriptedMotet, done, text_part
from tests.services.command import files_in, motet

PICTURE = Attachment(Path("a.png"), encode_picture(np.zeros((4, 4, 3), np.uint8)))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    (tmp_path / "attached.png").write_bytes(PICTURE.media.data)
    return tmp_path / "attached.png"


async def add_turn(motet: Motet, conversation: ChatConversation, text: str, folder: Path) -> None:
    """Get the answer to a prompt, and add both to the conversation."""
    request = RequestOptions().request(conversation.messages(text))
    delivery = await deliver(motet, request, OutputFolder(folder), PlainScreen(folder))
    conversation.add_turns(text, delivery)


async def test_media_of_earlier_turns_stay_part_of_the_conversation(tmp_path: Path) -> None:
    async with embedded(Factory.of_toys()) as motet:
        conversation = ChatConversation()
        artifact = await conversation.attach(PICTURE, motet)

        await add_turn(motet, conversation, "what is this?", tmp_path)
        messages = conversation.messages("and now?")

    assert [message.role for message in messages] == ["user", "assistant", "user"]
    assert messages[0].parts == (ArtifactName(artifact.name), "what is this?")
    assert sum(isinstance(part, ArtifactName) for part in messages[1].parts) == 3
    assert messages[2].parts == ("and now?",)


async def test_expired_media_are_sent_again_as_bytes(tmp_path: Path) -> None:
    async with embedded(Factory.of_toys()) as motet:
        conversation = ChatConversation()
        await motet.delete((await conversation.attach(PICTURE, motet)).name)

        with pytest.raises(NotFoundError) as caught:
            await add_turn(motet, conversation, "what is this?", tmp_path)

    assert conversation.recover(caught.value)
    assert conversation.messages("what is this?")[0].parts[0] == PICTURE.media
    assert not conversation.recover(caught.value)


async def test_a_chat_continues_when_its_media_expired(picture: Path, tmp_path: Path) -> None:
    async with embedded(Factory.of_toys()) as motet:
        chat = Chat(motet, RequestOptions(only=frozenset()), tmp_path / "out")
        await chat.process(f"/attach {picture}")
        (attached, _) = chat.conversation.messages("what is this?")[-1].parts
        assert isinstance(attached, ArtifactName)
        await motet.delete(attached.name)

        assert await chat.process("what is this?") is Exit.OK


async def test_a_chat_goes_on_at_the_limits_of_the_server_and_says_so_once(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MOTET_MAX_TURNS", "5")
    monkeypatch.setenv("MOTET_MAX_INPUT_MEDIA", "1")
    async with embedded(Factory.of_toys()) as motet:
        chat = Chat(motet, RequestOptions(), tmp_path)
        for number in range(6):
            await chat.process(f"/attach {picture}")
            assert await chat.process(f"prompt {number}") is Exit.OK
        messages = chat.conversation.messages("next")

    # Each exchange has an attachment, and only one attachment is allowed.
    assert [message.parts[-1] for message in messages if message.role == "user"] == ["prompt 5", "next"]
    assert capsys.readouterr().err.count("its oldest exchanges are left out") == 1


async def test_media_that_the_assistant_made_do_not_shorten_a_chat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTET_MAX_INPUT_MEDIA", "1")
    async with embedded(Factory.of_toys()) as motet:
        chat = Chat(motet, RequestOptions(), tmp_path)
        for number in range(3):
            assert await chat.process(f"prompt {number}") is Exit.OK

        assert len(chat.conversation.messages("next")) == 7


async def test_a_refused_turn_is_not_part_of_the_conversation(tmp_path: Path) -> None:
    async with embedded(Factory.of_toys()) as motet:
        chat = Chat(motet, RequestOptions(only=frozenset(["smell"])), tmp_path)

        with pytest.raises(RequestError, match="smell"):
            await chat.process("hello")

    assert len(chat.conversation.messages("again")) == 1


async def test_a_cut_answer_is_reported_and_stays_in_the_conversation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = RequestError("the answer was cut after 9 tokens; raise max_output_tokens", Reason.LIMIT_EXCEEDED)
    chat = Chat(ScriptedMotet(*text_part(0, "Once upon"), done(State.PARTIAL, cut)), RequestOptions(), tmp_path)

    assert await chat.process("a story, please") is Exit.PARTIAL

    assert "the answer was cut after 9 tokens; raise max_output_tokens (LIMIT_EXCEEDED)" in capsys.readouterr().err
    assert [message.parts for message in chat.conversation.messages("on")][1] == ("Once upon",)


def test_a_chat_works_in_a_pipe_and_numbers_its_files(tmp_path: Path, picture: Path) -> None:
    typed = f"/image {picture}\nfirst\n\n/help\nsecond\n/reset\n/quit\nnever\n"

    result = motet("chat", "--toy", "--only", "image", "--out", tmp_path / "out", stdin=typed)

    assert result.returncode == 0, result.stderr
    assert [line for line in result.stdout.splitlines() if "You said" in line] == [
        "You said: first. Here is one image:",
        "You said: second. Here is one image:",
    ]
    assert "/attach FILE" in result.stdout
    assert "attached.png is attached: image" in result.stderr
    assert list(files_in(tmp_path / "out")) == ["01-image.bin", "02-image.bin"]


def test_after_an_error_the_chat_continues(tmp_path: Path, picture: Path) -> None:
    typed = f"/dance\n/audio {picture}\n/attach absent.png\nhello"

    result = motet("chat", "--toy", "--only", "text", "--out", tmp_path / "out", stdin=typed)

    assert "You said: hello." in result.stdout
    assert [line.split(":")[0] for line in result.stderr.splitlines()[:3]] == ["motet"] * 3
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_a_byte_that_is_not_utf_8_does_not_end_a_chat(tmp_path: Path) -> None:
    result = motet("chat", "--toy", "--only", "text", "--out", tmp_path, stdin="caf\udce9\nhello\n")

    assert result.stdout.splitlines() == ["You said: caf\ufffd.", "You said: hello."]
    assert result.returncode == 0
