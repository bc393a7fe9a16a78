"""Decode jobs and their progress on the wire. Their media travel in chunks, which the servicer and the client build."""

from __future__ import annotations

from motet.core.media import Media
from motet.core.request import check_job
from motet.core.workers import DecodeJob, Progress
from motet.internal.v1 import decoder_service_pb2 as pb
from motet.transport.convert.field_errors import field_errors
from motet.transport.convert.tensor import tensor_from_proto, tensor_to_proto


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
            inputs=[pb.DecodeRequest.Input(media_type=media.media_type, data=media.data) for media in job.inputs],
            tenant=job.tenant,
            priority=job.priority,
            min_steps=job.min_steps or 0,
        )


def decode_job_from_proto(request: pb.DecodeRequest) -> DecodeJob:
    """Return the job of a message. Raises `RequestError` for an invalid conditioning tensor."""
    return DecodeJob(
        modality=request.modality,
        conditioning=tensor_from_proto(request.conditioning),
        seed=request.seed,
        steps=request.steps or None,
        guidance=request.guidance or None,
        previews=request.previews,
        inputs=tuple(Media(media.media_type, media.data) for media in request.inputs),
        tenant=request.tenant,
        priority=request.priority,
        min_steps=request.min_steps or None,
    )


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
