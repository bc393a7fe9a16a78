"""Records of generations and artifacts on the wire."""

from __future__ import annotations

from collections.abc import Mapping

from motet.core.events import Artifact, CallSource, Generation, PartDone, PartFailed, State, Usage, WorkerCall
from motet.transport.convert.timestamps import (
    duration_from_proto,
    duration_to_proto,
    timestamp_from_proto,
    timestamp_to_proto,
)
from motet.transport.status import error_from_status_proto, error_to_status_proto
from motet.v1 import event_pb2 as pb
from motet.v1 import media_pb2

_STATES: Mapping[State, pb.Generation.State] = {
    State.RUNNING: pb.Generation.STATE_RUNNING,
    State.SUCCEEDED: pb.Generation.STATE_SUCCEEDED,
    State.PARTIAL: pb.Generation.STATE_PARTIAL,
    State.FAILED: pb.Generation.STATE_FAILED,
    State.CANCELLED: pb.Generation.STATE_CANCELLED,
}
_STATE_OF: Mapping[int, State] = {number: state for state, number in _STATES.items()}
_SOURCES: Mapping[CallSource, pb.WorkerCall.Source] = {
    CallSource.UNKNOWN: pb.WorkerCall.SOURCE_UNSPECIFIED,
    CallSource.WORKER: pb.WorkerCall.SOURCE_WORKER,
    CallSource.CACHE: pb.WorkerCall.SOURCE_CACHE,
    CallSource.SHARED: pb.WorkerCall.SOURCE_SHARED,
}
_SOURCE_OF: Mapping[int, CallSource] = {number: source for source, number in _SOURCES.items()}


def generation_to_proto(generation: Generation) -> pb.Generation:
    """Return the record as a message."""
    expires = generation.expire_time
    return pb.Generation(
        name=generation.name,
        state=_STATES[generation.state],
        parts=[part_done_to_proto(part) for part in generation.parts],
        failures=[part_failed_to_proto(part) for part in generation.failures],
        usage=usage_to_proto(generation.usage),
        error=None if generation.error is None else error_to_status_proto(generation.error),
        create_time=timestamp_to_proto(generation.create_time),
        expire_time=None if expires is None else timestamp_to_proto(expires),
        last_sequence=generation.last_sequence,
        calls=[_call_to_proto(call) for call in generation.calls],
    )


def generation_from_proto(message: pb.Generation) -> Generation:
    """Return the record of a message. A state that this version lacks becomes FAILED."""
    return Generation(
        name=message.name,
        state=_STATE_OF.get(message.state, State.FAILED),
        parts=tuple(part_done_from_proto(part) for part in message.parts),
        failures=tuple(part_failed_from_proto(part) for part in message.failures),
        usage=usage_from_proto(message.usage),
        error=error_from_status_proto(message.error) if message.HasField("error") else None,
        create_time=timestamp_from_proto(message.create_time),
        expire_time=timestamp_from_proto(message.expire_time) if message.HasField("expire_time") else None,
        last_sequence=message.last_sequence,
        calls=tuple(_call_from_proto(call) for call in message.calls),
    )


def artifact_to_proto(artifact: Artifact) -> media_pb2.Artifact:
    """Return the artifact as a message."""
    return media_pb2.Artifact(
        name=artifact.name,
        modality=artifact.modality,
        media_type=artifact.media_type,
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
        expire_time=timestamp_to_proto(artifact.expire_time),
    )


def artifact_from_proto(message: media_pb2.Artifact) -> Artifact:
    """Return the artifact of a message."""
    return Artifact(
        name=message.name,
        modality=message.modality,
        media_type=message.media_type,
        size_bytes=message.size_bytes,
        sha256=message.sha256,
        expire_time=timestamp_from_proto(message.expire_time),
    )


def part_done_to_proto(part: PartDone) -> pb.PartDone:
    """Return a complete part as a message."""
    return pb.PartDone(
        part_id=part.part_id,
        artifact=None if part.artifact is None else artifact_to_proto(part.artifact),
        sha256=part.sha256,
        provenance=part.provenance,
    )


def part_done_from_proto(message: pb.PartDone) -> PartDone:
    """Return the complete part of a message."""
    artifact = artifact_from_proto(message.artifact) if message.HasField("artifact") else None
    return PartDone(message.part_id, message.sha256, artifact, dict(message.provenance))


def part_failed_to_proto(part: PartFailed) -> pb.PartFailed:
    """Return a failed part as a message."""
    return pb.PartFailed(
        part_id=part.part_id,
        error=error_to_status_proto(part.error),
        retryable=part.retryable,
        fallback_part_id=part.fallback_part_id,
    )


def part_failed_from_proto(message: pb.PartFailed) -> PartFailed:
    """Return the failed part of a message."""
    error = error_from_status_proto(message.error)
    return PartFailed(message.part_id, error, message.retryable, message.fallback_part_id)


def usage_to_proto(usage: Usage) -> pb.Usage:
    """Return the usage as a message."""
    return pb.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        decoder_steps=usage.decoder_steps,
        elapsed=duration_to_proto(usage.elapsed),
        omitted_turns=usage.omitted_turns,
    )


def usage_from_proto(message: pb.Usage) -> Usage:
    """Return the usage of a message."""
    return Usage(
        message.input_tokens,
        message.output_tokens,
        message.decoder_steps,
        duration_from_proto(message.elapsed),
        message.omitted_turns,
    )


def _call_to_proto(call: WorkerCall) -> pb.WorkerCall:
    return pb.WorkerCall(
        component=call.component,
        part_id=call.part_id,
        requested=None if call.requested is None else duration_to_proto(call.requested),
        start=duration_to_proto(call.start),
        queue_wait=None if call.queue_wait is None else duration_to_proto(call.queue_wait),
        end=None if call.end is None else duration_to_proto(call.end),
        source=_SOURCES[call.source],
        replica=call.replica,
        attempts=call.attempts,
        gpu_seconds=call.gpu_seconds,
        cpu_seconds=call.cpu_seconds,
        mean_batch_size=call.mean_batch_size,
    )


def _call_from_proto(message: pb.WorkerCall) -> WorkerCall:
    """Return the call of a message. A source that this version lacks becomes UNKNOWN."""
    return WorkerCall(
        component=message.component,
        part_id=message.part_id,
        requested=duration_from_proto(message.requested) if message.HasField("requested") else None,
        start=duration_from_proto(message.start),
        queue_wait=duration_from_proto(message.queue_wait) if message.HasField("queue_wait") else None,
        end=duration_from_proto(message.end) if message.HasField("end") else None,
        source=_SOURCE_OF.get(message.source, CallSource.UNKNOWN),
        replica=message.replica if message.HasField("replica") else None,
        attempts=message.attempts,
        gpu_seconds=message.gpu_seconds,
        cpu_seconds=message.cpu_seconds,
        mean_batch_size=message.mean_batch_size,
    )
