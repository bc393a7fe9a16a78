"""The checks of a decoder's job, and the decoding of its inputs in confined child processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from motet.core.concurrent.encode_each import run_concurrently
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, MediaError, Reason, RequestError
from motet.core.media import Media
from motet.core.request import check_job
from motet.core.workers import DecodeJob

T = TypeVar("T")


def check_decode_job(job: DecodeJob, modality: str, takes: Sequence[str]) -> None:
    """Raise `RequestError` if a job is of another modality, a field is out of its bounds, or its inputs do not fit.

    `takes` has the modality of each input of the decoder.
    """
    if job.modality != modality:
        raise RequestError(
            f"this decoder makes {modality}, not {job.modality!r}",
            Reason.MODALITY_NOT_SUPPORTED,
            {"modality": job.modality, "supported": modality},
        )
    check_job(job)
    if len(job.inputs) != len(takes):
        needed = f"{' and '.join(takes)} as inputs" if takes else "no inputs"
        raise RequestError(f"the {modality} decoder takes {needed}, but the job has {len(job.inputs)}")


async def read_inputs(
    inputs: Sequence[Media], readers: Sequence[Callable[[Media], Awaitable[T]]], deadline: Deadline
) -> list[T]:
    """Run each input's reader concurrently and return the results in order.

    A `MediaError` gets the input's position in `metadata["input"]`, from 1. On an error, a cancellation or at the
    deadline, cancel the other readers and wait for their end before raising.
    """
    try:
        async with asyncio.timeout(deadline.remaining()) as limit:
            return await run_concurrently(map(_read, range(1, len(inputs) + 1), inputs, readers))
    except TimeoutError as error:
        if not limit.expired():
            raise
        message = "the deadline passed while the decoder was reading its inputs; allow more time"
        raise DeadlineError(message) from error


async def _read(number: int, media: Media, reader: Callable[[Media], Awaitable[T]]) -> T:
    try:
        return await reader(media)
    except MediaError as error:
        metadata = {**error.metadata, "input": str(number)}
        raise MediaError(f"input {number} of the job: {error.message}", error.reason, metadata) from error
