"""A worker's promises, kept twice: called as an object, and over a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, FaultError, MediaError, MotetError, Reason, RequestError, RetryableError
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import (
    DecodeJob,
    Embedding,
    Finished,
    Progress,
    Prompt,
    Signal,
    SignalBroken,
    SignalStarted,
    TextPiece,
    Turn,
)
from motet.internal.v1 import decoder_service_pb2_grpc, language_model_service_pb2_grpc
from motet.toys.workers import (
    UNREADABLE,
    Pause,
    ToyDecoder,
    ToyEncoder,
    ToyLanguageModel,
    Trouble,
    grammar_of,
)
from motet.transport import convert
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteLanguageModel
from motet.transport.server import Server
from services.llm.servicer import LanguageModelServicer
from tests.transport.serving import served
from tests.waiting import until

Reach = Callable[[Any], AbstractAsyncContextManager[Any]]

CONDITIONING = Tensor("float32", (2, 2), bytes(range(16)))
JOB = DecodeJob("image", CONDITIONING, seed=7)
GRAMMAR = grammar_of("image", "smell")
RUN = list(GRAMMAR.run_of("image").ids)
REMOTE = {ToyEncoder: RemoteEncoder, ToyLanguageModel: RemoteLanguageModel, ToyDecoder: RemoteDecoder}


@pytest.fixture(params=["embedded", "grpc"])
def reach(request: pytest.FixtureRequest) -> Reach:
    """The same worker, called directly and over the wire: no test may tell them apart."""

    @asynccontextmanager
    async def reached(worker: Any) -> AsyncIterator[Any]:
        if request.param == "embedded":
            yield worker
        else:
            async with served(worker) as (_, channel):
                yield REMOTE[type(worker)](channel)

    return reached


def soon() -> Deadline:
    return Deadline.after(5)


def prompt(*parts: str | Embedding, **settings: Any) -> Prompt:
    return Prompt((Turn("user", parts),), **settings)


async def all_of(stream: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in stream]


async def failure_of(stream: AsyncIterator[Any]) -> MotetError:
    with pytest.raises(MotetError) as caught:
        await all_of(stream)
    return caught.value


async def test_an_encoder_is_told_on_whose_behalf_and_how_urgently(reach: Reach) -> None:
    toy = ToyEncoder()
    media = [Media("", b"1"), Media("", b"2")]

    async with reach(toy) as encoder:
        await encoder.encode(media, soon(), tenant="acme", priority=-2)
        await encoder.encode(media, soon())

    assert list(toy.whose) == [("acme", -2), ("", 0)]


async def test_encode_answers_one_embedding_per_item_in_order(reach: Reach) -> None:
    items = [Media("image/png", b"one"), Media("", b"x" * 600_000)]

    async with reach(ToyEncoder()) as encoder:
        embeddings = await encoder.encode(items, soon())
        swapped = await encoder.encode(items[::-1], soon())

    assert [one.shape for one in embeddings] == [(16,), (16,)]
    assert embeddings == swapped[::-1]
    assert embeddings[0] != embeddings[1]


async def test_encode_of_nothing_is_nothing(reach: Reach) -> None:
    async with reach(ToyEncoder()) as encoder:
        assert await encoder.encode([], soon()) == []


async def test_encode_names_the_item_that_it_cannot_read(reach: Reach) -> None:
    async with reach(ToyEncoder()) as encoder:
        with pytest.raises(MediaError, match="item 1") as caught:
            await encoder.encode([Media("", b"fine"), Media("", UNREADABLE)], soon())

    assert caught.value.metadata == {"index": "1"}
    assert caught.value.reason is Reason.MEDIA_UNREADABLE


async def test_generate_streams_what_was_written_and_then_finishes(reach: Reach) -> None:
    script = [*map(ord, "a→"), *RUN, ord("b"), RUN[0], ord("c")]
    toy = ToyLanguageModel(GRAMMAR, script)

    async with reach(toy) as language_model:
        events = await all_of(language_model.generate(prompt("hi"), soon()))

    assert isinstance(events[3], Signal)
    assert events[3].conditioning.shape == (4,)
    assert events[:3] == [TextPiece("a"), TextPiece("→"), SignalStarted("image")]
    assert events[4:] == [
        TextPiece("b"),
        SignalStarted("image"),
        SignalBroken("image", "the model wrote 1 of the 4 tokens that ask for image"),
        TextPiece("c"),
        Finished("stop", 2, len(script)),
    ]


async def test_a_language_model_is_told_everything_as_it_was_said(reach: Reach) -> None:
    asked = Prompt(
        (
            Turn("user", ("[IMG0] \0 é 🎵", Embedding("smell", CONDITIONING))),
            Turn("assistant", ("well",)),
            Turn("user", ("go on",)),
        ),
        {"image": 2},
        max_tokens=77,
        temperature=0.3,
        top_p=0.9,
        seed=2**64 - 1,
    )
    toy = ToyLanguageModel(GRAMMAR, [])

    async with reach(toy) as language_model:
        await all_of(language_model.generate(asked, soon()))

    assert list(toy.seen) == [asked]


async def test_equal_prompts_make_equal_events_and_another_seed_does_not(reach: Reach) -> None:
    ask = [prompt("hi", ceilings={"image": 1}, seed=seed) for seed in (1, 1, 2)]

    async with reach(ToyLanguageModel(GRAMMAR)) as language_model:
        first, second, other = [await all_of(language_model.generate(one, soon())) for one in ask]

    assert first == second != other


async def test_an_endless_answer_ends_at_the_limit(reach: Reach) -> None:
    def forever(_: Prompt) -> Any:
        while True:
            yield from RUN

    async with reach(ToyLanguageModel(GRAMMAR, forever)) as language_model:
        events = await all_of(language_model.generate(prompt("hi", max_tokens=10), soon()))

    assert events[-1] == Finished("length", 2, 10)
    assert sum(isinstance(event, Signal) for event in events) == 2


async def test_decode_streams_progress_and_then_the_media(reach: Reach) -> None:
    async with reach(ToyDecoder("image", media_type="image/toy")) as decoder:
        events = await all_of(decoder.decode(JOB, soon()))

    assert events[:2] == [Progress(1, 2), Progress(2, 2)]
    assert isinstance(events[2], Media)
    assert (events[2].media_type, len(events[2].data)) == ("image/toy", 64)


async def test_what_a_language_model_writes_at_once_travels_together() -> None:
    servicer = LanguageModelServicer(ToyLanguageModel(GRAMMAR, [*map(ord, "ab"), *RUN]), rest=60)

    async with Server([servicer]) as server, open_channel(server.address) as channel:
        stub = language_model_service_pb2_grpc.LanguageModelServiceStub(channel)
        call = stub.Generate(convert.prompt_to_proto(prompt("hi")), timeout=10)
        messages = [[event.WhichOneof("event") for event in response.events] async for response in call]

    assert messages == [["text", "text", "signal_started", "signal", "finished"]]


async def test_media_that_are_ready_with_the_last_progress_travel_with_it() -> None:
    async with served(ToyDecoder(steps=1)) as (_, channel):
        call = decoder_service_pb2_grpc.DecoderServiceStub(channel).Decode(convert.decode_job_to_proto(JOB))
        messages = [[event.WhichOneof("event") for event in response.events] async for response in call]

    assert messages == [["progress", "media"]]


async def test_a_job_arrives_as_it_was_given(reach: Reach) -> None:
    job = DecodeJob("image", CONDITIONING, 2**63, 3, 7.3, True, (Media("image/png", b"before"),))
    toy = ToyDecoder()

    async with reach(toy) as decoder:
        events = await all_of(decoder.decode(job, soon()))

    assert list(toy.seen) == [job]
    assert events[0].preview == Media("application/octet-stream", b"preview 1")


async def test_media_of_many_chunks_arrive_whole(reach: Reach) -> None:
    toy = ToyDecoder(size=3 * 2**20 + 1)
    expected = (await all_of(toy.decode(JOB, soon())))[-1]

    async with reach(toy) as decoder:
        assert (await all_of(decoder.decode(JOB, soon())))[-1] == expected


async def test_decode_refuses_a_modality_that_it_does_not_make(reach: Reach) -> None:
    async with reach(ToyDecoder("smell")) as decoder:
        error = await failure_of(decoder.decode(JOB, soon()))

    assert type(error) is RequestError
    assert (error.message, error.reason) == ("this decoder makes smell, not image", Reason.MODALITY_NOT_SUPPORTED)


async def test_decode_refuses_conditioning_of_another_shape(reach: Reach) -> None:
    async with reach(ToyDecoder(shape=(8,))) as decoder:
        error = await failure_of(decoder.decode(JOB, soon()))

    assert error.reason is Reason.CONDITIONING_INVALID


async def test_what_a_worker_raises_midway_is_what_its_caller_sees(reach: Reach) -> None:
    raised = FaultError("the step came out as NaN", metadata={"step": "1"})

    async with reach(ToyDecoder(trouble=Trouble(raised, after=1))) as decoder:
        events = decoder.decode(JOB, soon())
        first = await anext(events)
        error = await failure_of(events)

    assert first == Progress(1, 2)
    assert (type(error), error.message, error.metadata) == (FaultError, raised.message, raised.metadata)


async def test_trouble_that_passes_does_not_come_back(reach: Reach) -> None:
    trouble = Trouble(RetryableError("lost", Reason.WORKER_LOST), after=1, times=1)

    async with reach(ToyDecoder(trouble=trouble)) as decoder:
        assert (await failure_of(decoder.decode(JOB, soon()))).reason is Reason.WORKER_LOST
        assert len(await all_of(decoder.decode(JOB, soon()))) == 3


@pytest.mark.parametrize("pause", [Pause(60), Pause()], ids=["slow", "hanging"])
async def test_a_deadline_ends_the_wait(reach: Reach, pause: Pause, request: pytest.FixtureRequest) -> None:
    if pause.seconds is None and "embedded" in request.node.name:
        pause = Pause(60)  # nothing but a wire can end a hang in the same task
    toy = ToyDecoder(trouble=Trouble(pause, after=1))

    async with reach(toy) as decoder:
        error = await failure_of(decoder.decode(JOB, Deadline.after(0.2)))
        await until(lambda: toy.running == 0)

    assert type(error) is DeadlineError


async def test_a_reader_that_leaves_stops_the_worker(reach: Reach) -> None:
    decoding, writing = ToyDecoder(steps=10**6), ToyLanguageModel(GRAMMAR, lambda _: iter(lambda: 97, 0))

    for toy, stream in ((decoding, "decode"), (writing, "generate")):
        async with reach(toy) as worker:
            question = JOB if stream == "decode" else prompt("hi", max_tokens=10**6)
            async with closing(getattr(worker, stream)(question, soon())) as events:
                await anext(events)
                assert toy.running == 1
            await until(lambda toy=toy: toy.running == 0)


async def test_a_cancelled_reader_stops_the_worker(reach: Reach) -> None:
    toy = ToyDecoder(trouble=Trouble(Pause()))

    async with reach(toy) as decoder:
        task = asyncio.create_task(all_of(decoder.decode(JOB, soon())))
        await until(lambda: toy.running == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: toy.running == 0)
