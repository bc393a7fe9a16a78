"""Tests of the client against real servers. The client and a local `Motet` pass the same tests."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from motet.answers.answer import Answer, MediaPart, TextPart
from motet.answers.answer_stream import collect_answer
from motet.client import Client, SyncClient
from motet.core import events as ev
from motet.core.errors import (
    FaultError,
    MotetError,
    NotFoundError,
    OverloadedError,
    Reason,
    RequestError,
    RetryableError,
    SettingsError,
)
from motet.core.media import Media
from motet.core.request import ArtifactName, GenerationRequest, Message
from motet.core.service import Motet
from tests.scripted_motet import MODEL, NAME, PICTURE, ScriptedMotet, artifact_of, done, media_part, serving, text_part
from tests.waiting import until

ASK = GenerationRequest((Message("user", ("hi",)),))
Connect = Callable[[ScriptedMotet], AbstractAsyncContextManager[Motet]]


@pytest.fixture(params=["embedded", "grpc"])
def connect(request: pytest.FixtureRequest) -> Connect:
    @asynccontextmanager
    async def connected(server_motet: ScriptedMotet) -> AsyncIterator[Motet]:
        if request.param == "embedded":
            yield server_motet
        else:
            async with serving(server_motet) as server, Client(server.address) as client:
                yield client

    return connected


async def all_of(stream: Any) -> list[Any]:
    return [item async for item in stream]


async def test_an_answer_is_collected_in_order_with_the_bytes_of_its_media(connect: Connect) -> None:
    text, picture = text_part(0, "Höre: "), media_part(1, PICTURE)
    scripted = ScriptedMotet(*text[:1], *picture[:2], *text[1:], *text_part(2, "."), *picture[2:], done())

    async with connect(scripted) as motet:
        answer = await collect_answer(motet, ASK)

    assert answer.parts == (
        TextPart(0, "Höre: "),
        MediaPart(1, "image", PICTURE, "a penguin", 2, artifact_of(PICTURE)),
        TextPart(2, "."),
    )
    assert (answer.text, answer.seed) == ("Höre: .", 7)
    assert answer.generation.state is ev.State.SUCCEEDED


async def test_media_without_deltas_are_downloaded(connect: Connect) -> None:
    large = Media("image/png", bytes(2**20 + 1))
    scripted = ScriptedMotet(*media_part(0, large, inline=False), done())
    await scripted.upload(large)

    async with connect(scripted) as motet:
        answer = await collect_answer(motet, ASK)

    assert [part.content for part in answer.media] == [large]


async def test_content_that_does_not_match_its_digest_is_refused(connect: Connect) -> None:
    script = media_part(0, PICTURE)
    script[2] = ev.PartDelta("part-0", 0, b"something else")

    async with connect(ScriptedMotet(*script, done())) as motet:
        with pytest.raises(FaultError, match="does not match its digest"):
            await collect_answer(motet, ASK)


async def test_a_partial_answer_raises_no_error(connect: Connect) -> None:
    failed = ev.PartFailed("part-1", RetryableError("lost", Reason.WORKER_LOST), retryable=True)
    scripted = ScriptedMotet(*text_part(0, "well"), media_part(1, PICTURE)[0], failed, done(ev.State.PARTIAL))

    async with connect(scripted) as motet:
        answer = await collect_answer(motet, ASK)

    assert [part.content for part in answer.parts] == ["well"]
    assert answer.generation.state is ev.State.PARTIAL


async def test_a_failed_generation_raises_its_error(connect: Connect) -> None:
    async with connect(ScriptedMotet(done(ev.State.FAILED, OverloadedError("full", retry_after=2.5)))) as motet:
        with pytest.raises(OverloadedError) as caught:
            await collect_answer(motet, ASK)

    assert caught.value.retry_after == 2.5


async def test_the_events_report_a_failed_generation_in_done(connect: Connect) -> None:
    async with connect(ScriptedMotet(done(ev.State.FAILED, FaultError("no")))) as motet:
        events = await all_of(motet.generate(ASK))

    assert events[-1].payload.generation.error.message == "no"


async def test_a_refused_request_raises_before_any_event(connect: Connect) -> None:
    scripted = ScriptedMotet()
    scripted.script = [RequestError("the text is empty", metadata={"turn": "0"})]

    async with connect(scripted) as motet:
        with pytest.raises(RequestError, match="the text is empty") as caught:
            await all_of(motet.generate(ASK))

    assert caught.value.metadata == {"turn": "0"}


async def test_closing_the_events_cancels_the_generation(connect: Connect) -> None:
    scripted = ScriptedMotet(60.0, done())

    async with connect(scripted) as motet:
        events = motet.generate(ASK)
        await anext(events)
        await events.aclose()  # type: ignore[attr-defined]
        await until(lambda: scripted.cancelled_streams == 1)


async def test_every_other_call_reaches_its_method(connect: Connect) -> None:
    scripted = ScriptedMotet(*text_part(0, "x"), done())

    async with connect(scripted) as motet:
        artifact = await motet.upload(PICTURE)
        assert b"".join(await all_of(motet.download(artifact.name, 5))) == PICTURE.data[5:]
        await motet.delete(artifact.name)
        assert await motet.models() == [MODEL]
        assert (await motet.get(NAME)).name == NAME
        assert len((await motet.generations(3, "a"))[0]) == 3
        assert (await motet.generations(3, "a"))[1] == "a+"
        assert (await motet.cancel(NAME)).state is ev.State.CANCELLED
        watched = await all_of(motet.watch(NAME, 2))

    assert artifact == artifact_of(PICTURE)
    assert scripted.artifacts == {}
    assert scripted.cancelled == [NAME]
    assert [event.sequence for event in watched] == [3, 4, 5]


async def test_an_unknown_name_raises_not_found(connect: Connect) -> None:
    async with connect(ScriptedMotet()) as motet:
        with pytest.raises(NotFoundError) as artifact:
            await all_of(motet.download("artifacts/none"))
        with pytest.raises(NotFoundError) as generation:
            await motet.get("generations/none")

    assert artifact.value.reason is Reason.ARTIFACT_NOT_FOUND
    assert generation.value.reason is Reason.GENERATION_NOT_FOUND


async def test_the_client_does_not_cancel_the_call_after_the_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motet.transport.client_call._END_TIMEOUT", 60)
    client_is_done = asyncio.Event()
    scripted = ScriptedMotet(done(), client_is_done)

    async with serving(scripted) as server, Client(server.address) as client:
        await all_of(client.generate(ASK))
        client_is_done.set()
        await until(lambda: scripted.completed_streams + scripted.cancelled_streams == 1)

    assert scripted.cancelled_streams == 0


async def test_large_media_are_uploaded_once_and_replaced_by_their_name() -> None:
    large, small = Media("image/png", bytes(2**20 + 1)), Media("image/png", b"small")
    scripted = ScriptedMotet(done())

    async with serving(scripted) as server, Client(server.address) as client:
        await client.generate(GenerationRequest((Message("user", (large, small, "hi", large)),))).__anext__()

    name = ArtifactName(artifact_of(large).name)
    assert scripted.requests[0].turns[0].parts == (name, small, "hi", name)
    assert list(scripted.artifacts.values()) == [large]


async def test_media_beyond_the_total_limit_of_a_message_are_uploaded() -> None:
    media = [Media("image/png", bytes([n]) * 900_000) for n in range(6)]
    scripted = ScriptedMotet(done())

    async with serving(scripted) as server, Client(server.address) as client:
        await all_of(client.generate(GenerationRequest((Message("user", (*media, "hi")),))))

    assert [isinstance(part, Media) for part in scripted.requests[0].turns[0].parts[:6]] == [True] * 3 + [False] * 3


async def test_every_request_gets_its_own_id() -> None:
    scripted = ScriptedMotet(done())

    async with serving(scripted) as server, Client(server.address) as client:
        for _ in range(2):
            await all_of(client.generate(ASK))

    first, second = (UUID(request.request_id) for request in scripted.requests)
    assert first != second


async def test_heartbeats_are_not_events() -> None:
    async with serving(ScriptedMotet(0.1, done()), heartbeat=0.02) as server, Client(server.address) as client:
        events = await all_of(client.generate(ASK))

    assert [event.sequence for event in events] == [1, 2]


async def test_a_detached_generation_continues_after_a_lost_connection() -> None:
    restarted = asyncio.Event()
    scripted = ScriptedMotet(*text_part(0, "one"), restarted, *text_part(1, "two"), done())
    received: list[ev.Event] = []

    async with serving(scripted) as first, Client(first.address) as client:
        detached = GenerationRequest(ASK.turns, detach=True)
        async for event in client.generate(detached):
            received.append(event)
            if event.sequence == 4:
                await first.stop()
                second = serving(scripted, first.address)
                await second.__aenter__()
                restarted.set()
        await second.__aexit__(None, None, None)

    assert [event.sequence for event in received] == list(range(1, 9))
    assert scripted.watched == [4]


async def test_a_lost_connection_raises_an_error_without_detach() -> None:
    scripted = ScriptedMotet(60.0, done())

    async with serving(scripted) as server, Client(server.address) as client:
        events = client.generate(ASK)
        await anext(events)
        await server.stop()
        with pytest.raises(MotetError) as caught:
            await anext(events)

    assert caught.value.reason is Reason.WORKER_LOST
    assert scripted.watched == []


async def test_an_address_without_a_server_raises_at_once() -> None:
    async with Client("127.0.0.1:1") as client:
        with pytest.raises(RetryableError, match=r"Motet at 127\.0\.0\.1:1 cannot be reached"):
            await client.answer("hi")
        with pytest.raises(RetryableError):
            await all_of(client.watch(NAME))


def test_an_invalid_address_raises_at_once() -> None:
    with pytest.raises(SettingsError, match="write HOST:PORT"):
        SyncClient("nowhere")
    assert [thread.name for thread in threading.enumerate()].count("motet") == 1, "all clients share one thread"


@pytest.fixture
async def address() -> AsyncIterator[str]:
    scripted = ScriptedMotet(*text_part(0, "hi"), *media_part(1, PICTURE), 0.01, done())
    async with serving(scripted) as server:
        yield server.address


async def test_the_blocking_client_has_all_methods_of_the_client(address: str) -> None:
    def use() -> tuple[Answer, list[int], list[str]]:
        with SyncClient(address) as client:
            answer = client.answer("hi", [PICTURE], seed=1)
            events = client.generate(ASK)
            event = next(events)
            events.close()
            artifact = client.upload(PICTURE)
            assert b"".join(client.download(artifact.name)) == PICTURE.data
            client.delete(artifact.name)
            assert client.get(NAME).name == client.cancel(NAME).name == NAME
            assert len(client.generations(2)[0]) == 2
            assert event.sequence == 1
            return (
                answer,
                [event.sequence for event in client.watch(NAME, 7)],
                [model.name for model in client.models()],
            )

    answer, watched, models = await asyncio.to_thread(use)

    assert (answer.text, [part.content for part in answer.media]) == ("hi", [PICTURE])
    assert (watched, models) == ([8, 9, 10], ["toy"])
    assert [thread.name for thread in threading.enumerate()].count("motet") == 1, "all clients share one thread"


def test_the_client_imports_no_heavy_package() -> None:
    heavy = "torch numpy pydantic yaml protovalidate prometheus_client structlog typer PIL"
    code = f"import motet.client, sys; print([name for name in {heavy.split()} if name in sys.modules])"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"
