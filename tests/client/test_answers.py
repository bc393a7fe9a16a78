"""Answers, streams and conversations of the client: options, retries, text as it arrives, and the history."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from motet import (
    ArtifactName,
    Client,
    FailurePolicy,
    GenerationRequest,
    Media,
    MediaPart,
    Message,
    OverloadedError,
    Reason,
    RequestError,
    SettingsError,
    SyncClient,
    TextPart,
    events,
)
from motet.core.request import DecoderOptions
from motet.transport.server import Server
from services.orchestrator.servicer import ModelServicer
from tests.callers import for_anyone
from tests.scripted_motet import NAME, PICTURE, ScriptedMotet, artifact_of, done, media_part, serving, text_part
from tests.waiting import until

ID = "00000000-0000-4000-8000-000000000000"
ANSWER = (*text_part(0, "Here it is: "), *media_part(1, PICTURE), *text_part(2, "fine."), done())
ASK = GenerationRequest((Message("user", ("hi",)),))


@pytest.fixture
async def scripted() -> ScriptedMotet:
    return ScriptedMotet(*ANSWER)


@pytest.fixture
async def address(scripted: ScriptedMotet) -> AsyncIterator[str]:
    async with serving(scripted) as server:
        yield server.address


@pytest.fixture
async def client(address: str) -> AsyncIterator[Client]:
    async with Client(address) as client:
        yield client


async def test_each_option_of_an_answer_reaches_the_server(client: Client, scripted: ScriptedMotet) -> None:
    await client.answer(
        "hi",
        [PICTURE],
        model="toy",
        request_id=ID,
        allowed_modalities=["image", "text"],
        failure_policy=FailurePolicy.ALL_OR_NOTHING,
        seed=3,
        detach=True,
        previews=True,
        max_output_tokens=9,
        max_parts={"image": 1},
        timeout=7.0,
        temperature=0.5,
        top_p=0.25,
        steps={"image": 4},
        guidance={"audio": 2.0},
        min_steps={"image": 2},
        tenant="t",
        priority=1,
    )

    assert scripted.requests == [
        GenerationRequest(
            (Message("user", (PICTURE, "hi")),),
            model="toy",
            request_id=ID,
            allowed_modalities=frozenset({"image"}),
            failure_policy=FailurePolicy.ALL_OR_NOTHING,
            seed=3,
            detach=True,
            previews=True,
            max_output_tokens=9,
            max_parts={"image": 1},
            timeout=7.0,
            temperature=0.5,
            top_p=0.25,
            decoder_options={"image": DecoderOptions(4, None, 2), "audio": DecoderOptions(None, 2.0)},
            tenant="t",
            priority=1,
        )
    ]


async def test_an_option_replaces_the_field_of_a_complete_request(client: Client, scripted: ScriptedMotet) -> None:
    await client.answer(dataclasses.replace(ASK, seed=1, temperature=0.5), seed=2, allowed_modalities="image")
    await client.answer(ASK.turns)

    first, second = scripted.requests
    assert (first.seed, first.temperature, first.allowed_modalities) == (2, 0.5, frozenset({"image"}))
    assert (second.turns, second.seed) == (ASK.turns, None)


async def test_an_answer_has_a_timeout_by_default(address: str, scripted: ScriptedMotet) -> None:
    async with Client(address, answer_timeout=50.0) as client:
        await client.answer("hi")
        await client.answer("hi", timeout=20.0)
        await client.answer("hi", detach=True)

    assert [request.timeout for request in scripted.requests] == [50.0, 20.0, None]


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e9])
@pytest.mark.parametrize("name", ["timeout", "answer_timeout"])
async def test_a_timeout_that_no_server_accepts_is_refused(name: str, seconds: float) -> None:
    with pytest.raises(RequestError, match=f"^{name} must be"):
        Client("localhost:1", **{name: seconds})  # type: ignore[arg-type]


async def test_options_that_would_be_ignored_are_refused(client: Client, scripted: ScriptedMotet) -> None:
    with pytest.raises(RequestError, match="media belong to a text"):
        await client.answer(ASK, [PICTURE])
    with pytest.raises(TypeError, match="colour"):
        await client.answer("hi", colour="blue")  # type: ignore[call-arg]

    assert scripted.requests == []


async def test_a_stream_yields_text_and_parts_and_then_the_whole_answer(client: Client) -> None:
    async with client.stream("hi") as stream:
        assert stream.accepted == events.Accepted(NAME, 7)
        assert await anext(stream.text()) == "Here it is: "
        part = await anext(stream.parts())
        assert isinstance(part, TextPart)
        rest = [type(event.payload) async for event in stream]
        answer = await stream.answer()

    assert rest[0] is events.PlanGrown
    assert rest[-1] is events.Done
    assert answer.text == "Here it is: fine."
    assert [part.data for part in answer.media] == [PICTURE.data]
    assert answer.media[0].artifact == artifact_of(PICTURE)


async def test_a_stream_that_was_not_entered_is_refused(client: Client) -> None:
    with pytest.raises(RequestError, match="enter it with"):
        await client.stream("hi").answer()


async def test_leaving_a_stream_cancels_the_generation() -> None:
    scripted = ScriptedMotet(*ANSWER[:3], asyncio.Event(), done())

    async with serving(scripted) as server, Client(server.address) as client:
        async with client.stream("hi") as stream:
            async for _ in stream.text():
                break
        await until(lambda: scripted.cancelled_streams == 1)


@pytest.fixture
def overloaded(scripted: ScriptedMotet, monkeypatch: pytest.MonkeyPatch) -> list[OverloadedError]:
    """The refusals of a server that is overloaded at first."""
    refusals = [OverloadedError("full", retry_after=0.01), OverloadedError("full", retry_after=0.01)]
    generate = scripted.generate

    async def refuse_first(request: GenerationRequest) -> AsyncIterator[events.Event]:
        if refusals:
            raise refusals.pop()
        async for event in generate(request):
            yield event

    monkeypatch.setattr(scripted, "generate", refuse_first)
    return refusals


async def test_an_overloaded_server_gets_the_request_again(overloaded: list[OverloadedError], client: Client) -> None:
    assert (await client.answer("hi")).text == "Here it is: fine."
    assert overloaded == []


async def test_retries_are_bounded_by_their_number_and_by_the_timeout(
    overloaded: list[OverloadedError], address: str
) -> None:
    for retries in (0, -1):
        overloaded.append(OverloadedError("full", retry_after=0.01))
        async with Client(address, retries=retries) as client:
            with pytest.raises(OverloadedError):
                await client.answer("hi")
    overloaded[0].retry_after = 30.0
    async with Client(address) as client:
        with pytest.raises(OverloadedError):
            await client.answer("hi", timeout=20.0)


async def test_each_prompt_of_a_conversation_is_sent_with_the_exchanges_before_it(
    client: Client, scripted: ScriptedMotet
) -> None:
    conversation = client.conversation(temperature=0.5)

    first = await conversation.answer("what is this?", [PICTURE], seed=1)
    await conversation.answer("and now?")

    stored = ArtifactName(artifact_of(PICTURE).name)
    assert first.text == "Here it is: fine."
    assert scripted.requests[1].turns == (
        Message("user", (stored, "what is this?")),
        Message("assistant", ("Here it is: ", stored, "fine.")),
        Message("user", ("and now?",)),
    )
    assert [(request.seed, request.temperature) for request in scripted.requests] == [(1, 0.5), (None, 0.5)]
    assert conversation.left_out == 0


async def test_a_conversation_leaves_out_the_oldest_exchanges_at_the_limits(
    client: Client, scripted: ScriptedMotet, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = scripted.generate

    async def limited(request: GenerationRequest) -> AsyncIterator[events.Event]:
        if len(request.turns) > 3:
            raise RequestError("too many turns", Reason.LIMIT_EXCEEDED)
        async for event in generate(request):
            yield event

    monkeypatch.setattr(scripted, "generate", limited)
    conversation = client.conversation()
    for number in range(4):
        await conversation.answer(f"prompt {number}")

    assert [turn.parts for turn in scripted.requests[-1].turns if turn.role == "user"] == [("prompt 2",), ("prompt 3",)]
    assert conversation.left_out == 2


async def test_a_refused_prompt_is_not_part_of_a_conversation(client: Client, scripted: ScriptedMotet) -> None:
    conversation = client.conversation()
    scripted.script = [RequestError("no")]
    with pytest.raises(RequestError):
        await conversation.answer("refused")
    scripted.script = ScriptedMotet(*ANSWER).script

    await conversation.answer("hi")

    assert scripted.requests[-1].turns == ASK.turns


async def test_the_blocking_client_streams_and_converses(address: str, scripted: ScriptedMotet) -> None:
    def use() -> None:
        with SyncClient(address) as client:
            with client.stream("hi", seed=1) as stream:
                assert stream.accepted is not None
                assert next(stream.text()) == "Here it is: "
                assert isinstance([*stream.parts()][1], MediaPart)
                assert stream.generation is not None
                assert [*stream] == []
                assert stream.answer().text == "Here it is: fine."
            with pytest.raises(ZeroDivisionError), client.stream("hi") as stream:
                raise ZeroDivisionError
            conversation = client.conversation(seed=2)
            conversation.answer("one")
            with conversation.stream("two") as stream:
                assert "".join(stream.text()) == "Here it is: fine."
            assert conversation.left_out == 0

    await asyncio.to_thread(use)

    assert [len(request.turns) for request in scripted.requests] == [1, 1, 1, 3]
    assert [request.seed for request in scripted.requests] == [1, None, 2, 2]


async def test_metadata_is_sent_with_a_call() -> None:
    class Recorder(ModelServicer):
        metadata: tuple[tuple[str, str], ...] = ()

        async def ListModels(self, request: Any, context: Any) -> Any:
            type(self).metadata = context.invocation_metadata()
            return await super().ListModels(request, context)

    async with (
        Server([Recorder(for_anyone(ScriptedMotet()))], address="127.0.0.1:0") as server,
        Client(server.address, metadata={"authorization": "Bearer x"}) as client,
    ):
        await client.models()

    assert ("authorization", "Bearer x") in [tuple(pair) for pair in Recorder.metadata]


@pytest.mark.parametrize("metadata", [{"Upper": "x"}, {"grpc-x": "x"}, {"x-bin": "x"}, {"": "x"}, {"x": "a\nb"}])
async def test_metadata_that_grpc_cannot_send_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="cannot be sent"):
        Client("localhost:1", metadata=metadata)


async def test_the_environment_names_the_server(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_SERVER", address)
    async with Client() as client:
        assert len(await client.models()) == 1

    monkeypatch.delenv("MOTET_SERVER")
    async with Client() as client:
        assert client._connection.peer == "Motet at localhost:50050"


async def test_an_empty_address_is_not_this_machine() -> None:
    with pytest.raises(SettingsError, match="'' is not an address"):
        Client("")


def test_media_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"picture")

    assert Media.from_path(tmp_path / "a.png") == Media.from_path(str(tmp_path / "a.png")) == Media("", b"picture")
    with pytest.raises(FileNotFoundError):
        Media.from_path(tmp_path / "absent")
