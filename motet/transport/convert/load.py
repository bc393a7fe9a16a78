"""A worker's load on the wire."""

from __future__ import annotations

from motet.core.workers import Load
from motet.internal.v1 import worker_service_pb2 as pb


def load_to_proto(load: Load) -> pb.WatchCapacityResponse:
    """Return the load as a message."""
    return pb.WatchCapacityResponse(
        running=load.running,
        queued=load.queued,
        limit=load.limit,
        draining=load.draining,
        bundle_digest=load.bundle_digest,
        slots=load.slots,
        seconds=load.seconds,
    )


def load_from_proto(message: pb.WatchCapacityResponse) -> Load:
    """Return the load of a message."""
    return Load(
        running=message.running,
        queued=message.queued,
        limit=message.limit,
        draining=message.draining,
        bundle_digest=message.bundle_digest,
        slots=message.slots,
        seconds=message.seconds,
    )
