"""Tests of the bounds of a worker's inputs: a worker checks them itself, embedded and behind its service alike."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from hashlib import sha256
from typing import Any

import grpc.aio
import pytest

from motet.core.deadline import Deadline
from motet.core.errors import MotetError, OverloadedError, Reason, RequestError
from motet.core.media import MAX_MEDIA_BYTES, Media
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Embedding, Prompt, Turn
from motet.internal.v1 import decoder_service_pb2 as decoder_pb
from motet.internal.v1 import decoder_service_pb2_grpc, encoder_service_pb2_grpc, language_model_service_pb2_grpc
from motet.internal.v1 import encoder_service_pb2 as encoder_pb
from motet.toys.workers import ToyDecoder, ToyEncoder, ToyLanguageModel, grammar_of
from motet.transport import convert
from motet.transport.bounds.request_stream import MAX_STREAM_MESSAGES
from motet.transport.client_call import open_stream, unary
from motet.transport.clients import RemoteDecoder, RemoteLanguageModel, RemoteWorker
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.status import error_from_rpc
from services.encoder.servicer import MAX_ITEMS
from tests.transport.serving import served

TINY, HUGE, NAN, INF = math.ulp(0.0), 1e308, math.nan, math.inf
INVALID, CONDITIONING = Reason.INVALID_REQUEST, Reason.CONDITIONING_INVALID


def floats(*values: float) -> Tensor:
    return Tensor("float32", (len(values),), struct.pack(f"<{len(values)}f", *values))


PROMPT = Prompt((Turn("user", ("hi",)),), {"a": 1}, max_tokens=10)
INVALID_PROMPTS: dict[str, tuple[dict[str, Any], Reason]] = {
    **{f"temperature {value}": ({"temperature": value}, INVALID) for value in (-TINY, 5.1, HUGE, NAN, INF, -INF)},
    **{f"top_p {value}": ({"top_p": value}, INVALID) for value in (0.0, -TINY, 1.1, HUGE, NAN, INF)},
    **{f"max_tokens {value}": ({"max_tokens": value}, INVALID) for value in (0, -1, 32_769, 2**31 - 1)},
    **{f"priority {value}": ({"priority": value}, INVALID) for value in (-3, 3, 2**31 - 1, -(2**31))},
    **{f"ceiling {value}": ({"ceilings": {"a": value}}, INVALID) for value in (-1, -(2**31))},
    **{
        f"embedding of {value}": ({"turns": (Turn("user", (Embedding("a", floats(0, value)),)),)}, CONDITIONING)
        for value in (NAN, INF, -INF)
    },
}
VALID_PROMPTS: list[dict[str, Any]] = [
    {"temperature": TINY},
    {"temperature": 5.0},
    {"top_p": TINY},
    {"top_p": 1.0},
    {"max_tokens": 32_768},
    {"priority": -2},
    {"ceilings": {"a": 2**31 - 1}},
]

JOB = DecodeJob("a", floats(1, 2, 3, 4), seed=1)
INVALID_JOBS: dict[str, tuple[dict[str, Any], Reason]] = {
    **{f"guidance {value}": ({"guidance": value}, INVALID) for value in (-1.0, TINY, 0.5, 50.1, HUGE, NAN, INF)},
    **{f"steps {value}": ({"steps": value}, INVALID) for value in (-1, 1001, 2**31 - 1)},
    **{f"min_steps {value}": ({"min_steps": value}, INVALID) for value in (-1, 1001, 2**31 - 1)},
    **{f"priority {value}": ({"priority": value}, INVALID) for value in (-3, 3)},
    **{
        f"conditioning of {value}": ({"conditioning": floats(0, 0, 0, value)}, CONDITIONING)
        for value in (NAN, INF, -INF)
    },
    "half of infinity": ({"conditioning": Tensor("float16", (4,), b"\0\x7c" * 4)}, CONDITIONING),
    "four inputs": ({"inputs": (Media("", b"x"),) * 4}, Reason.LIMIT_EXCEEDED),
    "another shape": ({"conditioning": floats(1, 2)}, CONDITIONING),
    "whole numbers": ({"conditioning": Tensor("int64", (4,), bytes(32))}, CONDITIONING),
}
VALID_JOBS: list[dict[str, Any]] = [
    {"guidance": 50.0},
    {"guidance": 1.0},
    {"steps": 1},
    {"steps": 3, "min_steps": 1000},
]


def toy_language_model() -> ToyLanguageModel:
    return ToyLanguageModel(grammar_of("a"), [97])


def toy_decoder() -> ToyDecoder:
    return ToyDecoder("a", shape=(4,))


async def reason_of(stream: Any) -> Reason:
    """Return the reason of a stream that fails with `RequestError` before its first event."""
    with pytest.raises((MotetError, grpc.aio.AioRpcError)) as caught:
        await anext(aiter(stream))
    error = error_from_rpc(caught.value) if isinstance(caught.value, grpc.aio.AioRpcError) else caught.value
    assert isinstance(error, RequestError), error
    return error.reason


async def first_of(call: Any) -> Any:
    """Return the first response of a call. Raise the error of its peer, also if the call ends during a write."""
    async with open_stream(call) as responses:
        return await anext(responses)


def with_fields(message: Any, changes: dict[str, Any], converted: Any) -> Any:
    """Return the message with fields that no client of ours would send."""
    for name, value in changes.items():
        if name == "ceilings":
            message.ceilings.update(value)
        elif name == "inputs":
            for media in value:
                message.inputs.add(data=media.data)
        elif name in ("turns", "conditioning"):
            return converted()
        else:
            setattr(message, name, value)
    return message


@pytest.mark.parametrize("case", INVALID_PROMPTS)
async def test_a_language_model_refuses_an_invalid_prompt_embedded_and_served_alike(case: str) -> None:
    changes, reason = INVALID_PROMPTS[case]
    prompt = replace(PROMPT, **changes)
    toy = toy_language_model()
    async with served(toy) as (_, channel):
        stub = language_model_service_pb2_grpc.LanguageModelServiceStub(channel)
        message = with_fields(convert.prompt_to_proto(PROMPT), changes, lambda: convert.prompt_to_proto(prompt))
        reasons = [
            await reason_of(toy.generate(prompt, Deadline.never())),
            await reason_of(RemoteLanguageModel(channel).generate(prompt, Deadline.after(30))),
            await reason_of(stub.Generate(message, timeout=30)),
        ]

    assert reasons == [reason] * 3
    assert not toy.seen


@pytest.mark.parametrize("case", INVALID_JOBS)
async def test_a_decoder_refuses_an_invalid_job_embedded_and_served_alike(case: str) -> None:
    changes, reason = INVALID_JOBS[case]
    job = replace(JOB, **changes)
    toy = toy_decoder()
    async with served(toy) as (_, channel):
        stub = decoder_service_pb2_grpc.DecoderServiceStub(channel)
        message = with_fields(convert.decode_job_to_proto(JOB), changes, lambda: convert.decode_job_to_proto(job))
        reasons = [
            await reason_of(toy.decode(job, Deadline.never())),
            await reason_of(RemoteDecoder(channel).decode(job, Deadline.after(30))),
            await reason_of(stub.Decode(message, timeout=30)),
        ]

    assert reasons == [reason] * 3
    assert not toy.seen


@pytest.mark.parametrize("grace", [-1.0, -TINY, 604_801.0, HUGE, NAN, INF])
async def test_a_drain_with_an_invalid_grace_is_refused_and_the_worker_serves_on(grace: float) -> None:
    async with served(toy_decoder()) as (server, channel):
        with pytest.raises(RequestError, match="grace must be from 0"):
            await RemoteWorker(channel).drain(grace)

        assert not server.limiter.load.draining


async def test_values_at_the_bounds_are_accepted_embedded_and_served_alike() -> None:
    model, decoder = toy_language_model(), toy_decoder()
    async with served(model, decoder) as (_, channel):
        for prompt in (replace(PROMPT, **changes) for changes in VALID_PROMPTS):
            for worker in (model, RemoteLanguageModel(channel)):
                assert [event async for event in worker.generate(prompt, Deadline.after(30))]
        for job in (replace(JOB, **changes) for changes in VALID_JOBS):
            results = [
                [event async for event in worker.decode(job, Deadline.after(30))][-1]
                for worker in (decoder, RemoteDecoder(channel))
            ]
            assert isinstance(results[0], Media)
            assert results[0] == results[1]


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([{"header": {}}] * (MAX_ITEMS + 1), Reason.LIMIT_EXCEEDED),
        ([{"header": {}}, *[{"chunk": b"x"}] * MAX_STREAM_MESSAGES], Reason.LIMIT_EXCEEDED),
        ([{"header": {"priority": 3}}], INVALID),
        ([{"header": {"tenant": "t" * 65}}], Reason.LIMIT_EXCEEDED),
    ],
    ids=["items", "frames", "priority", "tenant"],
)
async def test_an_encoder_refuses_more_than_a_call_may_have(frames: list[dict[str, Any]], reason: Reason) -> None:
    toy = ToyEncoder()
    async with served(toy) as (_, channel):
        stub = encoder_service_pb2_grpc.EncoderServiceStub(channel)
        with pytest.raises(RequestError) as caught:
            await unary(stub.Encode((encoder_pb.EncodeRequest(**frame) for frame in frames), timeout=50))

    assert caught.value.reason is reason
    assert not toy.seen


def input_of(data: bytes, **changes: Any) -> dict[str, Any]:
    """Return the frame that begins an input, with fields that no client of ours would send."""
    return {"input": {"size_bytes": len(data), "sha256": sha256(data).digest(), **changes}}


@pytest.mark.parametrize(
    ("frames", "reason", "message"),
    [
        ([], INVALID, "the first frame of the stream must be the job"),
        ([{"chunk": b"x"}], INVALID, "the first frame of the stream must be the job"),
        (["job", "job"], INVALID, "the frames after the job must be its inputs"),
        (["job", {"chunk": b"x"}], INVALID, "the frames after the job must be its inputs"),
        (["job", *[input_of(b"")] * 4], Reason.LIMIT_EXCEEDED, "at most 3 inputs"),
        (["job", input_of(b"", size_bytes=MAX_MEDIA_BYTES + 1)], INVALID, "size_bytes"),
        (["job", input_of(b"xy"), {"chunk": b"x"}], INVALID, "incomplete or altered"),
        (["job", input_of(b"x"), {"chunk": b"xy"}], INVALID, "more bytes than the 1 of its header"),
        (["job", input_of(b"x"), {"chunk": b"y"}], INVALID, "incomplete or altered"),
        (["job", input_of(b"x", sha256=b""), {"chunk": b"x"}], INVALID, "incomplete or altered"),
    ],
)
async def test_a_decoder_refuses_inputs_that_are_too_many_too_large_or_altered(
    frames: list[Any], reason: Reason, message: str
) -> None:
    toy = toy_decoder()
    job = {"job": convert.decode_job_to_proto(JOB)}
    requests = (decoder_pb.DecodeChunkedRequest(**(job if frame == "job" else frame)) for frame in frames)
    async with served(toy) as (_, channel):
        stub = decoder_service_pb2_grpc.DecoderServiceStub(channel)
        with pytest.raises(RequestError, match=message) as caught:
            await first_of(stub.DecodeChunked(requests, timeout=50))

    assert caught.value.reason is reason
    assert not toy.seen


async def test_a_decoder_refuses_an_altered_input_inside_a_message() -> None:
    toy = toy_decoder()
    message = convert.decode_job_to_proto(replace(JOB, inputs=(Media("", b"x"),)))
    message.inputs[0].data = b"y"
    async with served(toy) as (_, channel):
        stub = decoder_service_pb2_grpc.DecoderServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError, match="incomplete or altered"):
            await anext(aiter(stub.Decode(message, timeout=50)))

    assert not toy.seen


async def test_a_decoder_refuses_an_input_of_more_than_32_mib_before_it_is_sent() -> None:
    job = replace(JOB, inputs=(Media("", bytes(MAX_MEDIA_BYTES + 1)),))
    toy = toy_decoder()
    async with served(toy) as (_, channel):
        for decoder in (toy, RemoteDecoder(channel)):
            assert await reason_of(decoder.decode(job, Deadline.after(30))) is Reason.INPUT_TOO_LARGE

    assert not toy.seen


async def test_a_refused_job_sends_no_inputs() -> None:
    job = replace(JOB, inputs=(Media("", bytes(MAX_MEDIA_BYTES)),))
    limiter = ConcurrencyLimiter(1, 0)
    await limiter.acquire()
    async with served(toy_decoder(), limiter=limiter) as (_, channel):
        for _ in range(20):
            with pytest.raises(OverloadedError):
                await anext(aiter(RemoteDecoder(channel).decode(job, Deadline.after(30))))
