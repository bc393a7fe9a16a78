"""Tests of the conversion to and from protos: every value survives the round trip."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import protovalidate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.core import events as ev
from motet.core.errors import FaultError, MotetError, OverloadedError, Reason, RequestError, error_of
from motet.core.media import Media
from motet.core.request import PRIORITIES, ArtifactName, DecoderOptions, FailurePolicy, GenerationRequest, Message
from motet.core.service import Model, Output
from motet.core.tensors import Tensor
from motet.core.workers import (
    DecodeJob,
    Embedding,
    Finished,
    Load,
    Progress,
    Prompt,
    Signal,
    SignalBroken,
    SignalStarted,
    SignalSuppressed,
    TextPiece,
    Turn,
)
from motet.transport import convert
from motet.transport.status import error_from_status_proto, error_to_status_proto
from motet.v1 import event_pb2, generation_service_pb2

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NAME = st.text("abcdefgh", min_size=1, max_size=8)
COUNT = st.integers(0, 2**31 - 1)
POSITIVE = st.integers(1, 2**31 - 1)
SEED = st.integers(0, 2**64 - 1)
# A float of a time in this century is coarser than the nanoseconds of the proto, so the round trip keeps it.
TIME = st.floats(1e9, 4e9)
DURATION = st.integers(0, 10**15).map(lambda nanoseconds: nanoseconds / 10**9)
TIMEOUT = st.integers(10**6, 10**15 // 2).map(lambda nanoseconds: nanoseconds / 10**9)
STEPS = st.integers(1, 1000)
TOKENS = st.integers(1, 32_768)
FRACTION = st.floats(0.001, 1.0)
SCALE = st.floats(1.0, 50.0)
PRIORITY = st.sampled_from(PRIORITIES)
MEDIA = st.builds(Media, NAME, st.binary(min_size=1, max_size=30))
TENSOR = st.lists(st.integers(0, 3), max_size=3).flatmap(
    lambda shape: st.builds(
        Tensor, st.just("uint8"), st.just(tuple(shape)), st.binary(min_size=_size(shape), max_size=_size(shape))
    )
)
PRINTABLE = TEXT.filter(str.isprintable)
"""Texts of errors. Other characters become escapes, see `test_an_error_has_only_characters_that_can_be_printed`."""
METADATA = st.dictionaries(NAME, PRINTABLE, max_size=3)
ERROR = st.one_of(
    st.builds(error_of, st.sampled_from([r for r in Reason if r != Reason.QUEUE_FULL]), PRINTABLE, METADATA),
    st.builds(OverloadedError, PRINTABLE, st.just(Reason.QUEUE_FULL), METADATA, DURATION),
)
ARTIFACT = st.builds(ev.Artifact, NAME, NAME, NAME, COUNT, st.binary(max_size=32), TIME)
PART_DONE = st.builds(ev.PartDone, NAME, st.binary(max_size=32), st.none() | ARTIFACT, METADATA)
PART_FAILED = st.builds(ev.PartFailed, NAME, ERROR, st.booleans(), NAME)
USAGE = st.builds(ev.Usage, COUNT, COUNT, COUNT, DURATION, COUNT)
WORKER_CALL = st.builds(
    ev.WorkerCall,
    NAME,
    DURATION,
    st.none() | DURATION,
    NAME,
    st.sampled_from(ev.CallSource),
    st.none() | DURATION,
    st.none() | DURATION,
    st.none() | COUNT,
    COUNT,
    DURATION,
    DURATION,
    SCALE,
)
GENERATION = st.builds(
    ev.Generation,
    NAME,
    st.sampled_from(ev.State),
    st.lists(PART_DONE, max_size=2).map(tuple),
    st.lists(PART_FAILED, max_size=2).map(tuple),
    USAGE,
    st.none() | ERROR,
    TIME,
    st.none() | TIME,
    COUNT,
    st.lists(WORKER_CALL, max_size=2).map(tuple),
)
PLAN_INPUT = st.builds(ev.PlanInput, NAME, part_id=NAME.filter(bool)) | st.builds(ev.PlanInput, NAME, artifact=NAME)
NODE = st.builds(ev.PlanNode, NAME, NAME, st.lists(PLAN_INPUT, max_size=2).map(tuple))
PAYLOAD = st.one_of(
    st.builds(ev.Accepted, NAME, SEED, st.none() | TIME, st.booleans()),
    st.builds(ev.PlanGrown, st.lists(NODE, max_size=3).map(tuple), st.booleans()),
    st.builds(ev.PartStarted, NAME, COUNT, NAME, NAME, COUNT, TEXT),
    st.builds(ev.PartDelta, NAME, COUNT, TEXT | st.binary(max_size=30)),
    st.builds(ev.PartProgress, NAME, COUNT, POSITIVE, st.none() | MEDIA),
    PART_DONE,
    PART_FAILED,
    USAGE,
    st.builds(ev.Done, GENERATION),
)
REQUEST = st.builds(
    GenerationRequest,
    turns=st.lists(
        st.builds(
            Message,
            st.sampled_from(["user", "assistant"]),
            st.lists(TEXT | MEDIA | st.builds(ArtifactName, NAME), max_size=3).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    model=NAME,
    request_id=TEXT,
    allowed_modalities=st.none() | st.frozensets(NAME, max_size=3),
    failure_policy=st.sampled_from(FailurePolicy),
    seed=st.none() | SEED,
    detach=st.booleans(),
    previews=st.booleans(),
    max_output_tokens=st.none() | TOKENS,
    max_parts=st.dictionaries(NAME, COUNT, max_size=2),
    timeout=st.none() | TIMEOUT,
    temperature=st.floats(0, 5),
    top_p=FRACTION,
    decoder_options=st.dictionaries(
        NAME, st.builds(DecoderOptions, st.none() | STEPS, st.none() | SCALE, st.none() | STEPS), max_size=2
    ),
    tenant=NAME,
    priority=PRIORITY,
)
PROMPT = st.builds(
    Prompt,
    st.lists(
        st.builds(
            Turn,
            st.sampled_from(["user", "assistant"]),
            st.lists(TEXT | st.builds(Embedding, NAME, TENSOR), max_size=3).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    st.dictionaries(NAME, COUNT, max_size=2),
    TOKENS,
    st.floats(0, 5),
    FRACTION,
    SEED,
    NAME,
    PRIORITY,
)
LANGUAGE_EVENT = st.one_of(
    st.builds(TextPiece, TEXT),
    st.builds(SignalStarted, NAME),
    st.builds(Signal, NAME, TENSOR),
    st.builds(SignalBroken, NAME, TEXT),
    st.builds(SignalSuppressed, NAME, st.sampled_from(["ceiling", "length"])),
    st.builds(Finished, st.sampled_from(["stop", "length"]), COUNT, COUNT),
)
JOB = st.builds(
    DecodeJob,
    NAME,
    TENSOR,
    SEED,
    st.none() | STEPS,
    st.none() | SCALE,
    st.booleans(),
    st.lists(MEDIA, max_size=2).map(tuple),
    NAME,
    PRIORITY,
    st.none() | STEPS,
)
LOAD = st.builds(Load, COUNT, COUNT, COUNT, st.booleans(), NAME, COUNT, DURATION)
SLOT = st.lists(NAME, max_size=2).map(tuple)
OUTPUT = st.builds(Output, NAME, NAME, COUNT, SCALE, COUNT, st.booleans(), st.lists(SLOT, max_size=2).map(tuple))
MODEL = st.builds(
    Model, NAME, TEXT, NAME, NAME, st.lists(NAME).map(tuple), st.lists(OUTPUT).map(tuple), COUNT, DURATION, COUNT, COUNT
)


def _size(shape: list[int]) -> int:
    return math.prod(shape)


def comparable(value: Any) -> Any:
    """Return the value with its errors as tuples of their contents: errors compare by identity."""
    if isinstance(value, MotetError):
        return (type(value), value.message, value.reason, value.metadata, getattr(value, "retry_after", None))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return (type(value), [comparable(getattr(value, field.name)) for field in dataclasses.fields(value)])
    return [comparable(element) for element in value] if isinstance(value, tuple) else value


def parsed_again(message: Any) -> Any:
    """Serialize the message and parse it again."""
    return type(message).FromString(message.SerializeToString())


@given(REQUEST)
def test_a_request_survives_the_round_trip(request: GenerationRequest) -> None:
    assert convert.request_from_proto(parsed_again(convert.request_to_proto(request))) == request


@given(st.builds(ev.Event, COUNT, TIME, PAYLOAD))
def test_an_event_survives_the_round_trip(event: ev.Event) -> None:
    assert comparable(convert.event_from_proto(parsed_again(convert.event_to_proto(event)))) == comparable(event)


@given(GENERATION)
def test_a_generation_survives_the_round_trip(generation: ev.Generation) -> None:
    result = convert.generation_from_proto(parsed_again(convert.generation_to_proto(generation)))

    assert comparable(result) == comparable(generation)


@given(ARTIFACT, MODEL)
def test_artifacts_and_models_survive_the_round_trip(artifact: ev.Artifact, model: Model) -> None:
    assert convert.artifact_from_proto(parsed_again(convert.artifact_to_proto(artifact))) == artifact
    assert convert.model_from_proto(parsed_again(convert.model_to_proto(model))) == model


@given(PROMPT, LANGUAGE_EVENT)
def test_prompts_and_language_events_survive_the_round_trip(prompt: Prompt, event: Any) -> None:
    assert convert.prompt_from_proto(parsed_again(convert.prompt_to_proto(prompt))) == prompt
    assert convert.language_event_from_proto(parsed_again(convert.language_event_to_proto(event))) == event


@given(JOB, st.builds(Progress, COUNT, POSITIVE, st.none() | MEDIA))
def test_decode_jobs_and_progress_survive_the_round_trip(job: DecodeJob, progress: Progress) -> None:
    assert convert.decode_job_from_proto(parsed_again(convert.decode_job_to_proto(job))) == job
    assert convert.progress_from_proto(parsed_again(convert.progress_to_proto(progress)).progress) == progress


@given(LOAD)
def test_a_load_survives_the_round_trip(load: Load) -> None:
    assert comparable(convert.load_from_proto(parsed_again(convert.load_to_proto(load)))) == comparable(load)


@given(TEXT)
def test_an_error_has_only_characters_that_can_be_printed(text: str) -> None:
    received = error_from_status_proto(error_to_status_proto(RequestError(text, metadata={text: text})))

    expected = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    assert (received.message, dict(received.metadata)) == (expected, {expected: expected})


@given(ERROR)
def test_an_error_survives_the_round_trip(error: MotetError) -> None:
    assert comparable(error_from_status_proto(parsed_again(error_to_status_proto(error)))) == comparable(error)


def test_a_request_of_only_text_does_not_become_a_request_of_all_modalities() -> None:
    text_only = GenerationRequest((Message("user", ("hi",)),), allowed_modalities=frozenset())

    message = convert.request_to_proto(text_only)

    assert list(message.allowed_modalities) == ["text"]
    assert convert.request_from_proto(message).allowed_modalities == frozenset()


def test_a_converted_request_is_valid() -> None:
    request = GenerationRequest((Message("user", ("hi", Media("", b"1"))),), timeout=5.0, seed=2**64 - 1)

    protovalidate.validate(convert.request_to_proto(request))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed must be from 0"),
        ({"seed": 2**64}, "seed must be from 0"),
        ({"max_output_tokens": 2**40}, "max_output_tokens must be from 1"),
        ({"model": "\ud800"}, "cannot be sent"),
    ],
)
def test_a_request_that_the_proto_cannot_represent_is_refused(change: dict[str, Any], message: str) -> None:
    request = dataclasses.replace(GenerationRequest((Message("user", ("hi",)),)), **change)

    with pytest.raises(RequestError, match=message):
        convert.request_to_proto(request)


def test_heartbeats_and_unknown_events_are_skipped() -> None:
    assert convert.event_from_proto(convert.heartbeat_to_proto(7, 1e9)) is None
    assert convert.event_from_proto(event_pb2.Event(sequence=8)) is None


def test_a_turn_without_a_role_is_refused() -> None:
    message = generation_service_pb2.GenerateRequest(turns=[{}])

    with pytest.raises(RequestError, match="role"):
        convert.request_from_proto(message)


def test_a_tensor_whose_shape_does_not_match_its_bytes_is_refused() -> None:
    message = convert.tensor_to_proto(Tensor("float32", (2,), b"12345678"))
    message.shape[0] = 3

    with pytest.raises(RequestError, match="takes 12 bytes"):
        convert.tensor_from_proto(message)


def test_an_error_with_an_unknown_reason_becomes_a_fault() -> None:
    status = error_to_status_proto(RequestError("hm"))
    status.details[0].value = status.details[0].value.replace(b"INVALID_REQUEST", b"FROM_THE_FUTURE")

    error = error_from_status_proto(status)

    assert type(error) is FaultError
