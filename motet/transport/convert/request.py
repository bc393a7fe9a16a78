"""Requests of callers on the wire."""

from __future__ import annotations

from collections.abc import Mapping

from motet.core.errors import RequestError
from motet.core.events import TEXT
from motet.core.media import Media
from motet.core.request import (
    ArtifactName,
    Content,
    DecoderOptions,
    FailurePolicy,
    GenerationRequest,
    Message,
    check_numbers,
)
from motet.core.workers import Role
from motet.transport.convert.field_errors import field_errors
from motet.transport.convert.timestamps import duration_from_proto, duration_to_proto
from motet.v1 import generation_service_pb2 as pb
from motet.v1 import media_pb2

_ROLES: Mapping[Role, media_pb2.Turn.Role] = {
    "user": media_pb2.Turn.ROLE_USER,
    "assistant": media_pb2.Turn.ROLE_ASSISTANT,
}
_ROLE_OF: Mapping[int, Role] = {number: role for role, number in _ROLES.items()}
_POLICIES: Mapping[FailurePolicy, pb.FailurePolicy] = {
    FailurePolicy.BEST_EFFORT: pb.FAILURE_POLICY_BEST_EFFORT,
    FailurePolicy.ALL_OR_NOTHING: pb.FAILURE_POLICY_ALL_OR_NOTHING,
    FailurePolicy.TEXT_FALLBACK: pb.FAILURE_POLICY_TEXT_FALLBACK,
}
_POLICY_OF: Mapping[int, FailurePolicy] = {number: policy for policy, number in _POLICIES.items()}


def request_to_proto(request: GenerationRequest) -> pb.GenerateRequest:
    """Return the request as a message. Raises `RequestError` for a number that is out of its bounds, or invalid text.

    Empty `allowed_modalities` are sent as ["text"], because an empty list on the wire allows all modalities.
    """
    check_numbers(request)
    allowed = None if request.allowed_modalities is None else sorted(request.allowed_modalities - {TEXT}) or [TEXT]
    with field_errors():
        message = pb.GenerateRequest(
            request_id=request.request_id,
            model=request.model,
            turns=[_turn_to_proto(turn) for turn in request.turns],
            allowed_modalities=allowed,
            failure_policy=_POLICIES[request.failure_policy],
            seed=request.seed,
            detach=request.detach,
            previews=request.previews,
            limits=_limits_to_proto(request),
            decoder_options={
                modality: pb.DecoderOptions(
                    steps=options.steps or 0,
                    guidance=options.guidance or 0.0,
                    min_steps=options.min_steps or 0,
                )
                for modality, options in request.decoder_options.items()
            },
            tenant=request.tenant,
            priority=request.priority,
        )
        if (request.temperature, request.top_p) != (0.0, 1.0):
            message.sampling.CopyFrom(pb.Sampling(temperature=request.temperature, top_p=request.top_p))
    return message


def request_from_proto(message: pb.GenerateRequest) -> GenerationRequest:
    """Return the request of a message."""
    allowed = frozenset(message.allowed_modalities) - {TEXT} if message.allowed_modalities else None
    return GenerationRequest(
        turns=tuple(_turn_from_proto(turn) for turn in message.turns),
        model=message.model,
        request_id=message.request_id,
        allowed_modalities=allowed,
        failure_policy=_POLICY_OF.get(message.failure_policy, FailurePolicy.BEST_EFFORT),
        seed=message.seed if message.HasField("seed") else None,
        detach=message.detach,
        previews=message.previews,
        max_output_tokens=message.limits.max_output_tokens or None,
        max_parts=dict(message.limits.max_parts),
        timeout=duration_from_proto(message.limits.timeout) if message.limits.HasField("timeout") else None,
        temperature=message.sampling.temperature,
        top_p=message.sampling.top_p or 1.0,
        decoder_options={
            modality: DecoderOptions(options.steps or None, options.guidance or None, options.min_steps or None)
            for modality, options in message.decoder_options.items()
        },
        tenant=message.tenant,
        priority=message.priority,
    )


def _limits_to_proto(request: GenerationRequest) -> pb.Limits:
    return pb.Limits(
        max_output_tokens=request.max_output_tokens or 0,
        max_parts=request.max_parts,
        timeout=None if request.timeout is None else duration_to_proto(request.timeout),
    )


def _turn_to_proto(turn: Message) -> media_pb2.Turn:
    return media_pb2.Turn(role=_ROLES[turn.role], parts=[_content_to_proto(part) for part in turn.parts])


def _turn_from_proto(turn: media_pb2.Turn) -> Message:
    if turn.role not in _ROLE_OF:
        raise RequestError("each turn needs a role: user or assistant")
    return Message(_ROLE_OF[turn.role], tuple(_content_from_proto(part) for part in turn.parts))


def _content_to_proto(content: Content) -> media_pb2.InputPart:
    match content:
        case str():
            return media_pb2.InputPart(text=content)
        case Media(media_type, data):
            return media_pb2.InputPart(media=media_pb2.InlineMedia(media_type=media_type, data=data))
        case ArtifactName(name):
            return media_pb2.InputPart(artifact=name)


def _content_from_proto(part: media_pb2.InputPart) -> Content:
    match part.WhichOneof("content"):
        case "text":
            return part.text
        case "media":
            return Media(part.media.media_type, part.media.data)
        case "artifact":
            return ArtifactName(part.artifact)
        case _:
            raise RequestError("each part of a turn needs content: text, media or the name of an artifact")
