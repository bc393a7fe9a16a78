"""Decode jobs and their progress on the wire. Large media travel in chunks, which the servicer and the client build."""

from __future__ import annotations

from motet.core.errors import RequestError
from motet.core.media import MAX_MEDIA_BYTES, Media
from motet.core.request import check_job
from motet.core.workers import DecodeJob, Progress
from motet.internal.v1 import decoder_service_pb2 as pb
from motet.transport.convert.field_errors import field_errors
from motet.transport.convert.tensor import tensor_from_proto, tensor_to_proto
from motet.transport.incoming_media import IncomingMedia


def decode_job_to_proto(job: DecodeJob) -> pb.DecodeRequest:
    """Return the job as a message. Raises `RequestError` for a number that is out of its bounds."""
    check_job(job)
    with field_errors():
        return pb.DecodeRequest(
            modality=job.modality,
            conditioning=tensor_to_proto(job.conditioning),
            seed=job.seed,
            steps=job.steps or 0,
            guidance=job.guidance or 0.0,
            previews=job.previews,
            inputs=[input_to_proto(media, media.data) for media in job.inputs],
            tenant=job.tenant,
            priority=job.priority,
            min_steps=job.min_steps or 0,
        )


def decode_job_from_proto(request: pb.DecodeRequest) -> DecodeJob:
    """Return the job of a message. Raises `RequestError` for an invalid conditioning tensor or an altered input."""
    return DecodeJob(
        modality=request.modality,
        conditioning=tensor_from_proto(request.conditioning),
        seed=request.seed,
        steps=request.steps or None,
        guidance=request.guidance or None,
        previews=request.previews,
        inputs=tuple(map(_input_from_proto, request.inputs)),
        tenant=request.tenant,
        priority=request.priority,
        min_steps=request.min_steps or None,
    )


def input_to_proto(media: Media, data: bytes = b"") -> pb.DecodeRequest.Input:
    """Return a job's input as a message with its first bytes, or none."""
    return pb.DecodeRequest.Input(
        media_type=media.media_type, data=data, size_bytes=len(media.data), sha256=media.sha256
    )


def _input_from_proto(message: pb.DecodeRequest.Input) -> Media:
    if not message.sha256:
        return Media(message.media_type, message.data)  # An earlier version sent no digest.
    incoming = IncomingMedia("the caller", MAX_MEDIA_BYTES, RequestError)
    incoming.start(message)
    return incoming.checked()


def progress_to_proto(progress: Progress) -> pb.DecodeResponse.Event:
    """Return progress as an event of the decoder."""
    message = pb.DecodeResponse.Progress(step=progress.step, total_steps=progress.total)
    if progress.preview is not None:
        message.preview_media_type = progress.preview.media_type
        message.preview = progress.preview.data
    return pb.DecodeResponse.Event(progress=message)


def progress_from_proto(message: pb.DecodeResponse.Progress) -> Progress:
    """Return the progress of a message."""
    preview = Media(message.preview_media_type, message.preview) if message.preview_media_type else None
    return Progress(message.step, message.total_steps, preview)
