"""Prompts and events of the language model, on the wire between the orchestrator and the language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, assert_never

from motet.core.errors import RequestError
from motet.core.request import check_prompt
from motet.core.workers import (
    Embedding,
    Finished,
    LanguageEvent,
    Prompt,
    Role,
    Signal,
    SignalBroken,
    SignalStarted,
    SignalSuppressed,
    TextPiece,
    Turn,
)
from motet.internal.v1 import language_model_service_pb2 as pb
from motet.transport.convert.field_errors import field_errors
from motet.transport.convert.tensor import tensor_from_proto, tensor_to_proto

_ROLES: Mapping[Role, pb.Turn.Role] = {"user": pb.Turn.ROLE_USER, "assistant": pb.Turn.ROLE_ASSISTANT}
_ROLE_OF: Mapping[int, Role] = {number: role for role, number in _ROLES.items()}
_Cause = Literal["stop", "length"]
_CAUSES: Mapping[_Cause, pb.Event.Finished.Cause] = {
    "stop": pb.Event.Finished.CAUSE_STOP,
    "length": pb.Event.Finished.CAUSE_LENGTH,
}
_CAUSE_OF: Mapping[int, _Cause] = {number: cause for cause, number in _CAUSES.items()}
_Limit = Literal["ceiling", "length"]
_LIMITS: Mapping[_Limit, pb.Event.SignalSuppressed.Limit] = {
    "ceiling": pb.Event.SignalSuppressed.LIMIT_CEILING,
    "length": pb.Event.SignalSuppressed.LIMIT_LENGTH,
}
_LIMIT_OF: Mapping[int, _Limit] = {number: limit for limit, number in _LIMITS.items()}


def prompt_to_proto(prompt: Prompt) -> pb.GenerateRequest:
    """Return the prompt as a message. Raises `RequestError` for a number that is out of its bounds, or invalid text."""
    check_prompt(prompt)
    with field_errors():
        return pb.GenerateRequest(
            turns=[_turn_to_proto(turn) for turn in prompt.turns],
            ceilings=prompt.ceilings,
            max_tokens=prompt.max_tokens,
            temperature=prompt.temperature,
            top_p=prompt.top_p,
            seed=prompt.seed,
            tenant=prompt.tenant,
            priority=prompt.priority,
        )


def prompt_from_proto(request: pb.GenerateRequest) -> Prompt:
    """Return the prompt of a message. Raises `RequestError` for an invalid tensor."""
    return Prompt(
        turns=tuple(_turn_from_proto(turn) for turn in request.turns),
        ceilings=dict(request.ceilings),
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed,
        tenant=request.tenant,
        priority=request.priority,
    )


def language_event_to_proto(event: LanguageEvent) -> pb.Event:
    """Return an event of the language model as a message."""
    match event:
        case TextPiece(text):
            return pb.Event(text=text)
        case SignalStarted(modality):
            return pb.Event(signal_started=pb.Event.SignalStarted(modality=modality))
        case Signal(modality, conditioning):
            signal = pb.Event.Signal(modality=modality, conditioning=tensor_to_proto(conditioning))
            return pb.Event(signal=signal)
        case SignalBroken(modality, message):
            broken = pb.Event.SignalBroken(modality=modality, message=message)
            return pb.Event(signal_broken=broken)
        case SignalSuppressed(modality, limit):
            suppressed = pb.Event.SignalSuppressed(modality=modality, limit=_LIMITS[limit])
            return pb.Event(signal_suppressed=suppressed)
        case Finished(reason, read, written, omitted):
            finished = pb.Event.Finished(
                cause=_CAUSES[reason], input_tokens=read, output_tokens=written, omitted_turns=omitted
            )
            return pb.Event(finished=finished)
        case _:
            assert_never(event)


def language_event_from_proto(message: pb.Event) -> LanguageEvent | None:
    """Return the event of a message, or None for a kind of event that this version lacks."""
    match message.WhichOneof("event"):
        case "text":
            return TextPiece(message.text)
        case "signal_started":
            return SignalStarted(message.signal_started.modality)
        case "signal":
            return Signal(message.signal.modality, tensor_from_proto(message.signal.conditioning))
        case "signal_broken":
            return SignalBroken(message.signal_broken.modality, message.signal_broken.message)
        case "signal_suppressed":
            suppressed = message.signal_suppressed
            return SignalSuppressed(suppressed.modality, _LIMIT_OF.get(suppressed.limit, "ceiling"))
        case "finished":
            finished = message.finished
            cause = _CAUSE_OF.get(finished.cause, "stop")
            return Finished(cause, finished.input_tokens, finished.output_tokens, finished.omitted_turns)
        case _:
            return None


def _turn_to_proto(turn: Turn) -> pb.Turn:
    return pb.Turn(role=_ROLES[turn.role], parts=[_part_to_proto(part) for part in turn.parts])


def _turn_from_proto(turn: pb.Turn) -> Turn:
    if turn.role not in _ROLE_OF:
        raise RequestError("each turn needs a role: user or assistant")
    return Turn(_ROLE_OF[turn.role], tuple(_part_from_proto(part) for part in turn.parts))


def _part_to_proto(part: str | Embedding) -> pb.Turn.Part:
    if isinstance(part, str):
        return pb.Turn.Part(text=part)
    embedding = pb.Turn.Embedding(modality=part.modality, tensor=tensor_to_proto(part.tensor))
    return pb.Turn.Part(embedding=embedding)


def _part_from_proto(part: pb.Turn.Part) -> str | Embedding:
    if part.WhichOneof("part") == "embedding":
        return Embedding(part.embedding.modality, tensor_from_proto(part.embedding.tensor))
    return part.text
