"""Events of a generation on the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, assert_never

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
    message = pb.Event(sequence=event.sequence, time=timestamp_to_proto(event.time))
    match event.payload:
        case Accepted() as accepted:
            message.accepted.CopyFrom(_accepted_to_proto(accepted))
        case PlanGrown() as plan:
            message.plan.CopyFrom(_plan_to_proto(plan))
        case PartStarted() as started:
            message.part_started.CopyFrom(_started_to_proto(started))
        case PartDelta() as delta:
            message.part_delta.CopyFrom(_delta_to_proto(delta))
        case PartProgress() as progress:
            message.part_progress.CopyFrom(_progress_to_proto(progress))
        case PartDone() as done:
            message.part_done.CopyFrom(part_done_to_proto(done))
        case PartFailed() as failed:
            message.part_failed.CopyFrom(part_failed_to_proto(failed))
        case Usage() as usage:
            message.usage.CopyFrom(usage_to_proto(usage))
        case Done(generation):
            message.done.CopyFrom(pb.Done(generation=generation_to_proto(generation)))
        case other:
            assert_never(other)
    return message


def event_from_proto(message: pb.Event) -> Event | None:
    """Return the event of a message, or None for a heartbeat and for a kind of event that this version lacks."""
    kind = message.WhichOneof("event")
    if kind is None or kind not in _FROM_PROTO:
        return None
    return Event(message.sequence, timestamp_from_proto(message.time), _FROM_PROTO[kind](getattr(message, kind)))


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
        pb.Plan.Node(part_id=node.part_id, modality=node.modality, depends_on=node.depends_on) for node in plan.nodes
    ]
    return pb.Plan(nodes=nodes, complete=plan.complete)


def _plan_from_proto(message: pb.Plan) -> PlanGrown:
    nodes = tuple(PlanNode(node.part_id, node.modality, tuple(node.depends_on)) for node in message.nodes)
    return PlanGrown(nodes, message.complete)


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


def _done_from_proto(message: pb.Done) -> Done:
    return Done(generation_from_proto(message.generation))


_FROM_PROTO: Mapping[str, Callable[[Any], EventPayload]] = {
    "accepted": _accepted_from_proto,
    "plan": _plan_from_proto,
    "part_started": _started_from_proto,
    "part_delta": _delta_from_proto,
    "part_progress": _progress_from_proto,
    "part_done": part_done_from_proto,
    "part_failed": part_failed_from_proto,
    "usage": usage_from_proto,
    "done": _done_from_proto,
}
