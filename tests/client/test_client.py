"""The client, against real servers: nobody who holds a Motet can tell where it is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from motet.client import Client, SyncClient
from motet.core import events as ev
from motet.core.answer import Answer, Part, answer_of
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
from tests.stage import MODEL, NAME, PICTURE, Stage, artifact_of, done, media_part, playing, text_part
from tests.waiting import until

ASK = GenerationRequest((Message("user", ("hi",)),))
Reach = Callable[[Stage], AbstractAsyncContextManager[Motet]]


@pytest.fixture(params=["embedded", "grpc"])
def reach(request: pytest.FixtureRequest) -> Reach:
    @asynccontextmanager
    async def reached(stage: Stage) -> AsyncIterator[Motet]:
        if request.param == "embedded":
            yield stage
        else:
            async with playing(stage) as server, Client(server.address) as client:
                yield client

    return reached


async def all_of(stream: Any) -> list[Any]:
    return [item async for item in stream]


async def test_an_answer_is_collected_in_order_with_the_bytes_of_its_media(reach: Reach) -> None:
    text, picture = text_part(0, "Höre: "), media_part(1, PICTURE)
    stage = Stage(*text[:1], *picture[:2], *text[1:], *text_part(2, "."), *picture[2:], done())

    async with reach(stage) as motet:
        answer = await answer_of(motet, ASK)

    assert answer.parts == (
        Part(0, "text", "Höre: "),
        Part(1, "image", PICTURE, "a penguin", 2),
        Part(2, "text", "."),
    )
    assert (answer.text, answer.seed) == ("Höre: .", 7)
    assert answer.generation.state is ev.State.SUCCEEDED


async def test_media_without_deltas_are_downloaded(reach: Reach) -> None:
    large = Media("image/png", bytes(2**20 + 1))
    stage = Stage(*media_part(0, large, inline=False), done())
    await stage.upload(large)

    async with reach(stage) as motet:
        answer = await answer_of(motet, ASK)

    assert [part.content for part in answer.media] == [large]


async def test_content_that_is_not_what_was_made_is_refused(reach: Reach) -> None:
    score = media_part(0, PICTURE)
    score[2] = ev.PartDelta("part-0", 0, b"something else")

    async with reach(Stage(*score, done())) as motet:
        with pytest.raises(FaultError, match="not what was made"):
            await answer_of(motet, ASK)


async def test_a_partial_answer_is_an_answer_that_tells_what_is_missing(reach: Reach) -> None:
    failed = ev.PartFailed("part-1", RetryableError("lost", Reason.WORKER_LOST), retryable=True)
    stage = Stage(*text_part(0, "well"), media_part(1, PICTURE)[0], failed, done(ev.State.PARTIAL))

    async with reach(stage) as motet:
        answer = await answer_of(motet, ASK)

    assert [part.content for part in answer.parts] == ["well"]
    assert answer.generation.state is ev.State.PARTIAL


async def test_an_answer_of_which_nothing_came_raises_why(reach: Reach) -> None:
    async with reach(Stage(done(ev.State.FAILED, OverloadedError("full", retry_after=2.5)))) as motet:
        with pytest.raises(OverloadedError) as caught:
            await answer_of(motet, ASK)

    assert caught.value.retry_after == 2.5


async def test_a_failed_generation_is_told_in_done_and_not_raised(reach: Reach) -> None:
    async with reach(Stage(done(ev.State.FAILED, FaultError("no")))) as motet:
        events = await all_of(motet.generate(ASK))

    assert events[-1].payload.generation.error.message == "no"


async def test_a_refused_request_raises_before_any_event(reach: Reach) -> None:
    stage = Stage()
    stage.score = [RequestError("say something", metadata={"turn": "0"})]

    async with reach(stage) as motet:
        with pytest.raises(RequestError, match="say something") as caught:
            await all_of(motet.generate(ASK))

    assert caught.value.metadata == {"turn": "0"}


async def test_closing_the_events_hangs_up(reach: Reach) -> None:
    stage = Stage(60.0, done())

    async with reach(stage) as motet:
        events = motet.generate(ASK)
        await anext(events)
        await events.aclose()  # type: ignore[attr-defined]
        await until(lambda: stage.hung_up == 1)


async def test_every_other_call_reaches_its_method(reach: Reach) -> None:
    stage = Stage(*text_part(0, "x"), done())

    async with reach(stage) as motet:
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
    assert stage.kept == {}
    assert stage.cancelled == [NAME]
    assert [event.sequence for event in watched] == [3, 4, 5]


async def test_what_is_not_there_is_told_so(reach: Reach) -> None:
    async with reach(Stage()) as motet:
        with pytest.raises(NotFoundError) as artifact:
            await all_of(motet.download("artifacts/none"))
        with pytest.raises(NotFoundError) as generation:
            await motet.get("generations/none")

    assert artifact.value.reason is Reason.ARTIFACT_NOT_FOUND
    assert generation.value.reason is Reason.GENERATION_NOT_FOUND


async def test_a_server_that_has_said_the_last_word_is_left_to_end_the_call() -> None:
    stage = Stage(done(), 0.05)

    async with playing(stage) as server, Client(server.address) as client:
        await all_of(client.generate(ASK))
        await asyncio.sleep(0.1)

    assert stage.hung_up == 0


async def test_media_too_large_for_a_message_are_uploaded_once_and_named() -> None:
    large, small = Media("image/png", bytes(2**20 + 1)), Media("image/png", b"small")
    stage = Stage(done())

    async with playing(stage) as server, Client(server.address) as client:
        await client.generate(GenerationRequest((Message("user", (large, small, "hi", large)),))).__anext__()

    name = ArtifactName(artifact_of(large).name)
    assert stage.requests[0].turns[0].parts == (name, small, "hi", name)
    assert list(stage.kept.values()) == [large]


async def test_media_that_fill_a_message_together_are_uploaded_too() -> None:
    media = [Media("image/png", bytes([n]) * 900_000) for n in range(6)]
    stage = Stage(done())

    async with playing(stage) as server, Client(server.address) as client:
        await all_of(client.generate(GenerationRequest((Message("user", (*media, "hi")),))))

    assert [isinstance(part, Media) for part in stage.requests[0].turns[0].parts[:6]] == [True] * 3 + [False] * 3


async def test_every_request_gets_an_id_of_its_own() -> None:
    stage = Stage(done())

    async with playing(stage) as server, Client(server.address) as client:
        for _ in range(2):
            await all_of(client.generate(ASK))

    first, second = (UUID(request.request_id) for request in stage.requests)
    assert first != second


async def test_heartbeats_are_heard_by_nobody() -> None:
    async with playing(Stage(0.1, done()), heartbeat=0.02) as server, Client(server.address) as client:
        events = await all_of(client.generate(ASK))

    assert [event.sequence for event in events] == [1, 2]


async def test_a_detached_generation_goes_on_where_a_lost_connection_left_it() -> None:
    stage = Stage(*text_part(0, "one"), 0.2, *text_part(1, "two"), done())
    seen: list[ev.Event] = []

    async with playing(stage) as first, Client(first.address) as client:
        detached = GenerationRequest(ASK.turns, detach=True)
        async for event in client.generate(detached):
            seen.append(event)
            if event.sequence == 4:
                await first.stop()
                second = playing(stage, first.address)
                await second.__aenter__()
        await second.__aexit__(None, None, None)

    assert [event.sequence for event in seen] == list(range(1, 9))
    assert stage.watched == [4]


async def test_a_lost_connection_is_the_end_of_what_is_not_detached() -> None:
    stage = Stage(60.0, done())

    async with playing(stage) as server, Client(server.address) as client:
        events = client.generate(ASK)
        await anext(events)
        await server.stop()
        with pytest.raises(MotetError) as caught:
            await anext(events)

    assert caught.value.reason is Reason.WORKER_LOST
    assert stage.watched == []


async def test_nobody_at_the_address_is_told_at_once() -> None:
    async with Client("127.0.0.1:1") as client:
        with pytest.raises(RetryableError, match=r"Motet at 127\.0\.0\.1:1 cannot be reached"):
            await client.answer("hi")
        with pytest.raises(RetryableError):
            await all_of(client.watch(NAME))


def test_no_address_is_told_at_once() -> None:
    with pytest.raises(SettingsError, match="write HOST:PORT"):
        SyncClient("nowhere")
    assert "motet" not in [thread.name for thread in threading.enumerate()]


@pytest.fixture
async def address() -> AsyncIterator[str]:
    stage = Stage(*text_part(0, "hi"), *media_part(1, PICTURE), 0.01, done())
    async with playing(stage) as server:
        yield server.address


async def test_the_client_that_waits_does_all_the_other_does(address: str) -> None:
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
            return answer, [event.sequence for event in client.watch(NAME, 6)], [m.name for m in client.models()]

    answer, watched, models = await asyncio.to_thread(use)

    assert (answer.text, [part.content for part in answer.media]) == ("hi", [PICTURE])
    assert (watched, models) == ([7, 8, 9], ["toy"])
    assert "motet" not in [thread.name for thread in threading.enumerate()]


def test_an_answer_is_saved_without_overwriting(tmp_path: Path) -> None:
    parts = (Part(0, "text", "hi"), Part(1, "image", PICTURE), Part(2, "smell", Media("application/x-smell", b"s")))
    answer = Answer(parts, done().generation, 7)

    paths = answer.save(tmp_path / "new")

    assert [path.name for path in paths] == ["01-image.png", "02-smell.smell", "answer.txt"]
    assert [path.read_bytes() for path in paths] == [PICTURE.data, b"s", b"hi"]
    with pytest.raises(RequestError, match="choose another folder"):
        answer.save(tmp_path / "new")


def test_the_client_loads_nothing_but_grpc_and_protobuf() -> None:
    heavy = "torch numpy pydantic yaml protovalidate prometheus_client structlog typer PIL"
    code = f"import motet.client, sys; print([name for name in {heavy.split()} if name in sys.modules])"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"
