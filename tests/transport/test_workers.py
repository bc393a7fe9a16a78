"""Tests of the worker protocols. Embedded workers, workers over gRPC, and those with Ray's messages pass them all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
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
    SignalSuppressed,
    TextPiece,
    Turn,
)
from motet.internal.v1 import decoder_service_pb2_grpc, language_model_service_pb2_grpc
from motet.toys.workers import (
    UNREADABLE,
    InjectedFault,
    Pause,
    ToyDecoder,
    ToyEncoder,
    ToyLanguageModel,
    grammar_of,
)
from motet.transport import convert
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteLanguageModel
from motet.transport.server import Server
from services.llm.servicer import LanguageModelServicer
from tests.transport.ray.local_handle import served_by_ray
from tests.transport.serving import served
from tests.waiting import until

Connect = Callable[[Any], AbstractAsyncContextManager[Any]]

CONDITIONING = Tensor("float32", (2, 2), bytes(range(16)))
JOB = DecodeJob("image", CONDITIONING, seed=7)
GRAMMAR = grammar_of("image", "smell")
RUN = list(GRAMMAR.run_of("image").ids)
REMOTE = {ToyEncoder: RemoteEncoder, ToyLanguageModel: RemoteLanguageModel, ToyDecoder: RemoteDecoder}


@pytest.fixture(params=["embedded", "grpc", "ray"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Return a function that connects to a worker: directly, over gRPC, or by the channel of Ray. Each passes all."""

    @asynccontextmanager
    async def connected(worker: Any) -> AsyncIterator[Any]:
        if request.param == "embedded":
            yield worker
        elif request.param == "grpc":
            async with served(worker) as (_, channel):
                yield REMOTE[type(worker)](channel)
        else:
            async with served_by_ray(worker) as (_, in_ray):
                yield REMOTE[type(worker)](in_ray)

    return connected


def deadline() -> Deadline:
    """Return a deadline that no call of these tests reaches."""
    return Deadline.after(30)


def prompt(*parts: str | Embedding, **settings: Any) -> Prompt:
    """Return a prompt with one turn of the user."""
    return Prompt((Turn("user", parts),), **settings)


async def all_of(stream: AsyncIterator[Any]) -> list[Any]:
    """Return all events of a stream."""
    return [event async for event in stream]


async def failure_of(stream: AsyncIterator[Any]) -> MotetError:
    """Return the error of a stream that fails."""
    with pytest.raises(MotetError) as caught:
        await all_of(stream)
    return caught.value


async def test_an_encoder_receives_the_tenant_and_the_priority(connect: Connect) -> None:
    toy = ToyEncoder()
    media = [Media("", b"1"), Media("", b"2")]

    async with connect(toy) as encoder:
        await encoder.encode(media, deadline(), tenant="acme", priority=-2)
        await encoder.encode(media, deadline())

    assert list(toy.callers) == [("acme", -2), ("", 0)]


async def test_encode_returns_one_embedding_per_item_in_order(connect: Connect) -> None:
    items = [Media("image/png", b"one"), Media("", b"x" * 600_000)]

    async with connect(ToyEncoder()) as encoder:
        embeddings = await encoder.encode(items, deadline())
        swapped = await encoder.encode(items[::-1], deadline())

    assert [embedding.shape for embedding in embeddings] == [(16,), (16,)]
    assert embeddings == swapped[::-1]
    assert embeddings[0] != embeddings[1]


async def test_encode_without_media_returns_no_embeddings(connect: Connect) -> None:
    async with connect(ToyEncoder()) as encoder:
        assert await encoder.encode([], deadline()) == []


async def test_the_error_of_encode_names_the_unreadable_item(connect: Connect) -> None:
    async with connect(ToyEncoder()) as encoder:
        with pytest.raises(MediaError, match="item 1") as caught:
            await encoder.encode([Media("", b"fine"), Media("", UNREADABLE)], deadline())

    assert caught.value.metadata == {"index": "1"}
    assert caught.value.reason is Reason.MEDIA_UNREADABLE


async def test_generate_yields_text_and_signals_and_then_finished(connect: Connect) -> None:
    script = [*map(ord, "a→"), *RUN, ord("b"), RUN[0], ord("c")]
    toy = ToyLanguageModel(GRAMMAR, script)

    async with connect(toy) as language_model:
        events = await all_of(language_model.generate(prompt("hi"), deadline()))

    assert isinstance(events[3], Signal)
    assert events[3].conditioning.shape == (4,)
    assert events[:3] == [TextPiece("a"), TextPiece("→"), SignalStarted("image")]
    assert events[4:] == [
        TextPiece("b"),
        SignalStarted("image"),
        SignalBroken("image", "the model wrote 1 of the 4 tokens [image0] to [image3], which request image"),
        TextPiece("c"),
        Finished("stop", 2, len(script)),
    ]


async def test_a_language_model_receives_the_prompt_unchanged(connect: Connect) -> None:
    request = Prompt(
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

    async with connect(toy) as language_model:
        await all_of(language_model.generate(request, deadline()))

    assert list(toy.seen) == [request]


async def test_equal_prompts_yield_equal_events_and_another_seed_does_not(connect: Connect) -> None:
    prompts = [prompt("hi", ceilings={"image": 1}, seed=seed) for seed in (1, 1, 2)]

    async with connect(ToyLanguageModel(GRAMMAR)) as language_model:
        first, second, other = [await all_of(language_model.generate(request, deadline())) for request in prompts]

    assert first == second != other


async def test_an_endless_response_ends_at_max_tokens(connect: Connect) -> None:
    def endless(_: Prompt) -> Any:
        while True:
            yield from RUN

    async with connect(ToyLanguageModel(GRAMMAR, endless)) as language_model:
        events = await all_of(language_model.generate(prompt("hi", max_tokens=10), deadline()))

    assert sum(isinstance(event, Signal) for event in events) == 2
    assert events[-2:] == [SignalSuppressed("image", "length"), Finished("length", 2, 8)], "a third run does not fit"


async def test_a_response_that_ends_with_its_last_allowed_token_is_not_cut(connect: Connect) -> None:
    async with connect(ToyLanguageModel(GRAMMAR, [*map(ord, "ab"), *RUN])) as language_model:
        events = await all_of(language_model.generate(prompt("hi", max_tokens=6), deadline()))

    assert events[-1] == Finished("stop", 2, 6)


async def test_decode_yields_progress_and_then_the_media(connect: Connect) -> None:
    async with connect(ToyDecoder("image", media_type="image/toy")) as decoder:
        events = await all_of(decoder.decode(JOB, deadline()))

    assert events[:2] == [Progress(1, 2), Progress(2, 2)]
    assert isinstance(events[2], Media)
    assert (events[2].media_type, len(events[2].data)) == ("image/toy", 64)


async def test_events_that_are_ready_at_the_same_moment_are_in_one_message() -> None:
    servicer = LanguageModelServicer(ToyLanguageModel(GRAMMAR, [*map(ord, "ab"), *RUN]), min_interval=60)

    async with Server([servicer]) as server, open_channel(server.address) as channel:
        stub = language_model_service_pb2_grpc.LanguageModelServiceStub(channel)
        call = stub.Generate(convert.prompt_to_proto(prompt("hi")), timeout=30)
        messages = [[event.WhichOneof("event") for event in response.events] async for response in call]

    assert messages == [["text", "text", "signal_started", "signal", "finished"]]


async def test_media_that_are_ready_with_the_last_progress_are_in_its_message() -> None:
    async with served(ToyDecoder(steps=1)) as (_, channel):
        call = decoder_service_pb2_grpc.DecoderServiceStub(channel).Decode(convert.decode_job_to_proto(JOB))
        messages = [[event.WhichOneof("event") for event in response.events] async for response in call]

    assert messages == [["progress", "media"]]


async def test_a_decoder_receives_the_job_unchanged(connect: Connect) -> None:
    job = DecodeJob("image", CONDITIONING, 2**63, 3, 7.3, True, (Media("image/png", b"before"),))
    toy = ToyDecoder()

    async with connect(toy) as decoder:
        events = await all_of(decoder.decode(job, deadline()))

    assert list(toy.seen) == [job]
    assert events[0].preview == Media("application/octet-stream", b"preview 1")


async def test_inputs_larger_than_a_message_reach_the_decoder_unchanged(connect: Connect) -> None:
    inputs = (Media("image/png", bytes(5 * 2**20)), Media("", b""), Media("audio/wav", b"sound" * 2**18))
    job = replace(JOB, inputs=inputs)
    toy = ToyDecoder()

    async with connect(toy) as decoder:
        results = [(await all_of(decoder.decode(job, deadline())))[-1] for _ in range(2)]

    assert list(toy.seen) == [job, job]
    assert results[0] == results[1]


async def test_media_of_many_chunks_arrive_complete(connect: Connect) -> None:
    toy = ToyDecoder(size=3 * 2**20 + 1)
    expected = (await all_of(toy.decode(JOB, deadline())))[-1]

    async with connect(toy) as decoder:
        assert (await all_of(decoder.decode(JOB, deadline())))[-1] == expected


async def test_decode_refuses_an_unsupported_modality(connect: Connect) -> None:
    async with connect(ToyDecoder("smell")) as decoder:
        error = await failure_of(decoder.decode(JOB, deadline()))

    assert type(error) is RequestError
    assert (error.message, error.reason) == ("this decoder makes smell, not image", Reason.MODALITY_NOT_SUPPORTED)


async def test_decode_refuses_conditioning_of_another_shape(connect: Connect) -> None:
    async with connect(ToyDecoder(shape=(8,))) as decoder:
        error = await failure_of(decoder.decode(JOB, deadline()))

    assert error.reason is Reason.CONDITIONING_INVALID


async def test_an_error_after_the_first_event_reaches_the_caller_unchanged(connect: Connect) -> None:
    fault = FaultError("the step came out as NaN", metadata={"step": "1"})

    async with connect(ToyDecoder(fault=InjectedFault(fault, after=1))) as decoder:
        events = decoder.decode(JOB, deadline())
        first = await anext(events)
        error = await failure_of(events)

    assert first == Progress(1, 2)
    assert (type(error), error.message, error.metadata) == (FaultError, fault.message, fault.metadata)


async def test_a_call_after_a_temporary_error_succeeds(connect: Connect) -> None:
    fault = InjectedFault(RetryableError("lost", Reason.WORKER_LOST), after=1, times=1)

    async with connect(ToyDecoder(fault=fault)) as decoder:
        assert (await failure_of(decoder.decode(JOB, deadline()))).reason is Reason.WORKER_LOST
        assert len(await all_of(decoder.decode(JOB, deadline()))) == 3


@pytest.mark.parametrize("pause", [Pause(60), Pause()], ids=["slow", "hanging"])
async def test_a_call_ends_at_its_deadline(connect: Connect, pause: Pause, request: pytest.FixtureRequest) -> None:
    if pause.seconds is None and "embedded" in request.node.name:
        pause = Pause(60)  # Only a call over gRPC ends at its deadline if the worker hangs.
    toy = ToyDecoder(fault=InjectedFault(pause, after=1))

    async with connect(toy) as decoder:
        error = await failure_of(decoder.decode(JOB, Deadline.after(0.2)))
        await until(lambda: toy.running == 0)

    assert type(error) is DeadlineError


async def test_closing_the_stream_stops_the_worker(connect: Connect) -> None:
    decoder, language_model = ToyDecoder(steps=10**6), ToyLanguageModel(GRAMMAR, lambda _: iter(lambda: 97, 0))

    for toy, method in ((decoder, "decode"), (language_model, "generate")):
        async with connect(toy) as worker:
            request = JOB if method == "decode" else prompt("hi", max_tokens=32_768)
            async with closing(getattr(worker, method)(request, deadline())) as events:
                await anext(events)
                assert toy.running == 1
            await until(lambda toy=toy: toy.running == 0)


async def test_cancelling_the_reader_stops_the_worker(connect: Connect) -> None:
    toy = ToyDecoder(fault=InjectedFault(Pause()))

    async with connect(toy) as decoder:
        task = asyncio.create_task(all_of(decoder.decode(JOB, deadline())))
        await until(lambda: toy.running == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: toy.running == 0)
