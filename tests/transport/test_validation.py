"""Tests of validation: cheap bounds come before the rules of a message, and few violations are reported."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from motet.core.errors import Reason, RequestError
from motet.internal.v1 import decoder_service_pb2 as decoder_pb
from motet.internal.v1 import encoder_service_pb2 as encoder_pb
from motet.internal.v1 import language_model_service_pb2 as llm_pb
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.convert.wire_fields import MAX_FIELDS, has_too_many_fields
from motet.transport.interceptor import ServerInterceptor
from motet.transport.status import MessageError
from motet.transport.validation import parse, validate
from motet.v1 import generation_service_pb2 as pb

HELLO = pb.GenerateRequest(turns=[{"role": "ROLE_USER", "parts": [{"text": "hello"}]}])
LARGEST = pb.GenerateRequest(turns=[{"role": "ROLE_USER", "parts": [{"text": "a word"}] * 16}] * 256)

# Fields of a message, encoded. The numbers of the fields are in the protos.
FLOODS = {
    "empty turns": (pb.GenerateRequest, b"\x1a\x00"),
    "turns of one empty part": (pb.GenerateRequest, b"\x1a\x02\x12\x00"),
    "empty modalities": (pb.GenerateRequest, b"\x22\x00"),
    "empty decoder options": (pb.GenerateRequest, b"\x5a\x00"),
    "fields that no version has": (pb.GenerateRequest, b"\xa2\x3f\x00"),
    "turns of a language model": (llm_pb.GenerateRequest, b"\x0a\x00"),
    "ceilings of a language model": (llm_pb.GenerateRequest, b"\x12\x00"),
    "inputs of a decoder": (decoder_pb.DecodeRequest, b"\x3a\x00"),
    "priorities of a decoder": (decoder_pb.DecodeRequest, b"\x48\x02"),
    "fixed numbers of a decoder": (decoder_pb.DecodeRequest, b"\x29" + bytes(8)),
    "headers in one frame": (encoder_pb.EncodeRequest, b"\x0a\x00"),
}


def refusal(message: Any) -> MessageError:
    with pytest.raises(MessageError) as caught:
        validate(message)
    return caught.value


@pytest.mark.parametrize("case", FLOODS)
def test_a_message_with_too_many_fields_is_refused_before_it_is_parsed(case: str) -> None:
    kind, field = FLOODS[case]
    unparsed = SimpleNamespace(DESCRIPTOR=kind.DESCRIPTOR, FromString=pytest.fail)

    with pytest.raises(RequestError, match=str(MAX_FIELDS)) as caught:
        parse(unparsed, field * (MAX_FIELDS + 1))  # type: ignore[arg-type]
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


def test_the_largest_valid_conversation_is_parsed_and_valid() -> None:
    parsed = parse(pb.GenerateRequest, LARGEST.SerializeToString())

    assert parsed == LARGEST
    validate(parsed)


def test_large_texts_and_media_are_no_fields() -> None:
    parts: list[Any] = [{"text": "\x1a\x00" * 2**17}, {"media": {"data": b"\x1a\x00" * 2**19}}]
    message = pb.GenerateRequest(turns=[{"role": "ROLE_USER", "parts": parts}])

    assert parse(pb.GenerateRequest, message.SerializeToString()) == message


@pytest.mark.parametrize("data", [b"\x0a" * 2**17, b"\xff" * 2**17, b"\x0a\x7f" + b"\x1a" * 2**17, bytes(2**17)])
def test_bytes_that_are_no_message_are_refused_as_such(data: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        parse(pb.GenerateRequest, data)

    assert caught.value.reason in (Reason.INVALID_REQUEST, Reason.LIMIT_EXCEEDED)


def test_fields_of_nested_messages_count() -> None:
    nested = pb.GenerateRequest(turns=[{"parts": [{"text": "x"}] * (MAX_FIELDS // 2)}])

    assert has_too_many_fields(nested.SerializeToString(), pb.GenerateRequest.DESCRIPTOR)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.GenerateRequest(turns=[{}] * 20_000), "turns"),
        (pb.GenerateRequest(turns=HELLO.turns, allowed_modalities=[""] * 20_000), "allowed_modalities"),
        (llm_pb.GenerateRequest(turns=[{}] * 20_000), "turns"),
        (llm_pb.GenerateRequest(turns=[{"role": 1, "parts": [{}] * 20_000}]), "turns[0].parts"),
        (decoder_pb.DecodeRequest(modality="a", conditioning={"shape": [-1] * 20_000}), "conditioning.dtype"),
    ],
    ids=["turns", "modalities", "a model's turns", "a model's parts", "dimensions"],
)
def test_only_the_first_violation_of_a_large_message_is_reported(message: Any, field: str) -> None:
    error = refusal(message)

    assert [violation[0] for violation in error.violations] == [field]
    assert len(error.message) < 200


def test_the_violations_of_a_small_message_are_reported_up_to_a_limit() -> None:
    request = pb.GenerateRequest(turns=[{}] * 100, priority=9)

    assert len(refusal(request).violations) == 8
    assert len(refusal(pb.GenerateRequest(turns=HELLO.turns, priority=9, tenant="t" * 65)).violations) == 2


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (pb.GenerateRequest(turns=[*HELLO.turns] * 257), Reason.LIMIT_EXCEEDED),
        (pb.GenerateRequest(turns=HELLO.turns, tenant="t" * 65), Reason.LIMIT_EXCEEDED),
        (pb.GenerateRequest(turns=[{"role": 1, "parts": [{"text": "x" * 262_145}]}]), Reason.INPUT_TOO_LARGE),
        (pb.GenerateRequest(turns=HELLO.turns, priority=3), Reason.INVALID_REQUEST),
        (pb.GenerateRequest(turns=HELLO.turns, priority=3, tenant="t" * 65), Reason.INVALID_REQUEST),
    ],
    ids=["turns", "tenant", "text", "priority", "both"],
)
def test_a_limit_has_the_reason_that_the_orchestrator_reports(message: Any, reason: Reason) -> None:
    assert refusal(message).reason is reason


async def test_large_requests_of_several_calls_are_parsed_in_different_iterations_of_the_event_loop() -> None:
    loop, parsed = asyncio.get_running_loop(), []
    iteration = 0

    def tick() -> None:
        nonlocal iteration
        iteration += 1
        loop.call_soon(tick)

    def from_string(data: bytes) -> pb.GenerateRequest:
        parsed.append(iteration)
        return pb.GenerateRequest.FromString(data)

    tick()
    kind: Any = SimpleNamespace(DESCRIPTOR=pb.GenerateRequest.DESCRIPTOR, FromString=from_string)
    interceptor, data = ServerInterceptor(ConcurrencyLimiter()), LARGEST.SerializeToString()
    await asyncio.gather(*(interceptor._receive(kind, data) for _ in range(5)))

    assert len(set(parsed)) == 5
