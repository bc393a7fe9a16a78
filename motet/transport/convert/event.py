"""Events of a generation on the wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from motet.core.events import (
    Accepted,
    Done,
    Event,
    EventPayload,
    PartDelta,
    PartDone,
    PartFailed,
    PartProgress,
    PartStarted,
    PlanGrown,
    PlanInput,
    PlanNode,
    Usage,
)
from motet.core.media import Media
from motet.transport.convert.generation import (
    generation_from_proto,
    generation_to_proto,
    part_done_from_proto,
    part_done_to_proto,
    part_failed_from_proto,
    part_failed_to_proto,
    usage_from_proto,
    usage_to_proto,
)
from motet.transport.convert.timestamps import timestamp_from_proto, timestamp_to_proto
from motet.v1 import event_pb2 as pb
from motet.v1 import media_pb2


def event_to_proto(event: Event) -> pb.Event:
    """Return the event as a message."""
    time, payload = timestamp_to_proto(event.time), event.payload
    field, to_proto = _TO_PROTO[type(payload)]
    return pb.Event(sequence=event.sequence, time=time, **{field: to_proto(payload)})


def event_from_proto(message: pb.Event) -> Event | None:
    """Return the event of a message, or None for a heartbeat and for a kind of event that this version lacks."""
    field = message.WhichOneof("event")
    if field is None or field not in _FROM_PROTO:
        return None
    return Event(message.sequence, timestamp_from_proto(message.time), _FROM_PROTO[field](getattr(message, field)))


def heartbeat_to_proto(sequence: int, time: float) -> pb.Event:
    """Return a heartbeat. `sequence` is that of the last event; `time` is in seconds since the epoch."""
    return pb.Event(sequence=sequence, time=timestamp_to_proto(time), heartbeat=pb.Heartbeat())


def _accepted_to_proto(accepted: Accepted) -> pb.Accepted:
    return pb.Accepted(
        generation=accepted.generation,
        deadline=None if accepted.deadline is None else timestamp_to_proto(accepted.deadline),
        seed=accepted.seed,
        deduplicated=accepted.deduplicated,
    )


def _accepted_from_proto(message: pb.Accepted) -> Accepted:
    deadline = timestamp_from_proto(message.deadline) if message.HasField("deadline") else None
    return Accepted(message.generation, message.seed, deadline, message.deduplicated)


def _plan_to_proto(plan: PlanGrown) -> pb.Plan:
    nodes = [
        pb.Plan.Node(
            part_id=node.part_id,
            modality=node.modality,
            depends_on=node.depends_on,
            inputs=map(_plan_input_to_proto, node.inputs),
        )
        for node in plan.nodes
    ]
    return pb.Plan(nodes=nodes, complete=plan.complete)


def _plan_from_proto(message: pb.Plan) -> PlanGrown:
    nodes = tuple(
        PlanNode(
            node.part_id,
            node.modality,
            tuple(PlanInput(source.modality, source.part_id, source.artifact) for source in node.inputs),
        )
        for node in message.nodes
    )
    return PlanGrown(nodes, message.complete)


def _plan_input_to_proto(source: PlanInput) -> pb.Plan.Input:
    if source.part_id:
        return pb.Plan.Input(modality=source.modality, part_id=source.part_id)
    return pb.Plan.Input(modality=source.modality, artifact=source.artifact)


def _started_to_proto(started: PartStarted) -> pb.PartStarted:
    return pb.PartStarted(
        part_id=started.part_id,
        index=started.index,
        modality=started.modality,
        media_type=started.media_type,
        text_anchor=started.text_anchor,
        caption=started.caption,
    )


def _started_from_proto(message: pb.PartStarted) -> PartStarted:
    return PartStarted(
        part_id=message.part_id,
        index=message.index,
        modality=message.modality,
        media_type=message.media_type,
        text_anchor=message.text_anchor,
        caption=message.caption,
    )


def _delta_to_proto(delta: PartDelta) -> pb.PartDelta:
    if isinstance(delta.chunk, str):
        return pb.PartDelta(part_id=delta.part_id, offset=delta.offset, text=delta.chunk)
    return pb.PartDelta(part_id=delta.part_id, offset=delta.offset, data=delta.chunk)


def _delta_from_proto(message: pb.PartDelta) -> PartDelta:
    chunk = message.data if message.WhichOneof("chunk") == "data" else message.text
    return PartDelta(message.part_id, message.offset, chunk)


def _progress_to_proto(progress: PartProgress) -> pb.PartProgress:
    message = pb.PartProgress(part_id=progress.part_id, step=progress.step, total_steps=progress.total)
    if progress.preview is not None:
        preview = media_pb2.InlineMedia(media_type=progress.preview.media_type, data=progress.preview.data)
        message.preview.CopyFrom(preview)
    return message


def _progress_from_proto(message: pb.PartProgress) -> PartProgress:
    preview = Media(message.preview.media_type, message.preview.data) if message.HasField("preview") else None
    return PartProgress(message.part_id, message.step, message.total_steps, preview)


def _done_to_proto(done: Done) -> pb.Done:
    return pb.Done(generation=generation_to_proto(done.generation))


def _done_from_proto(message: pb.Done) -> Done:
    return Done(generation_from_proto(message.generation))


_CODECS: Sequence[tuple[type[EventPayload], str, Callable[[Any], Any], Callable[[Any], EventPayload]]] = (
    (Accepted, "accepted", _accepted_to_proto, _accepted_from_proto),
    (PlanGrown, "plan", _plan_to_proto, _plan_from_proto),
    (PartStarted, "part_started", _started_to_proto, _started_from_proto),
    (PartDelta, "part_delta", _delta_to_proto, _delta_from_proto),
    (PartProgress, "part_progress", _progress_to_proto, _progress_from_proto),
    (PartDone, "part_done", part_done_to_proto, part_done_from_proto),
    (PartFailed, "part_failed", part_failed_to_proto, part_failed_from_proto),
    (Usage, "usage", usage_to_proto, usage_from_proto),
    (Done, "done", _done_to_proto, _done_from_proto),
)
"""Each payload's class, its field of `Event`, and its conversions."""

_TO_PROTO = {kind: (field, to_proto) for kind, field, to_proto, _ in _CODECS}
_FROM_PROTO = {field: from_proto for _, field, _, from_proto in _CODECS}
