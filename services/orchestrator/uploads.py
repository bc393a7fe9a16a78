"""The uploads in progress: their number, size and duration are bounded."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import sha256

from motet.core.clock import now
from motet.core.errors import DeadlineError, OverloadedError, Reason, RequestError, RetryableError
from motet.core.media import MEBI, Media
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.v1 import artifact_service_pb2 as artifact_pb

Frames = AsyncIterator[artifact_pb.UploadArtifactRequest]


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """The limits of the uploads of a process. One uploader may have half of the uploads and half of the bytes.

    An uploader is a tenant, or a connection of an anonymous caller.

    `silence` is the maximum time without a chunk, in seconds. `min_rate` is the minimum average speed in bytes per
    second, after the first `silence` seconds.
    """

    uploads: int = 16
    bytes: int = 128 * MEBI
    silence: float = 10.0
    min_rate: float = 32 * 1024


class Uploads:
    """The uploads in progress of a process."""

    def __init__(self, limits: UploadLimits | None = None) -> None:
        self._limits = limits = limits or UploadLimits()
        self._uploads = _Shares(limits.uploads, "uploads")
        self._bytes = _Shares(limits.bytes, "bytes of uploads")
        self._timeouts: set[asyncio.Timeout] = set()
        self._closed = False

    async def close_with(self, limiter: ConcurrencyLimiter) -> None:
        """Wait until the limiter is closed, then end the uploads that have not arrived completely.

        The artifacts of a process end with the process, so a complete upload would be of no use.
        """
        await limiter.wait_closed()
        self._closed = True
        for timeout in self._timeouts:
            timeout.reschedule(0)

    @asynccontextmanager
    async def received(self, frames: Frames, uploader: str, max_bytes: int) -> AsyncIterator[Media]:
        """Receive the media of an upload, and count the upload for its uploader until the context ends.

        Raises `OverloadedError` if the upload exceeds a share, `RequestError` if the frames do not match the header or
        exceed `max_bytes`, `DeadlineError` if they stop or are slow, and `RetryableError` once the process drains.
        """
        with ExitStack() as shares:
            shares.enter_context(self._uploads.taken(uploader, 1))
            timeout = asyncio.timeout(None)
            self._timeouts.add(timeout)
            try:
                async with timeout, aclosing(self._watched(frames, timeout)) as watched:
                    header = await _receive_header(watched, max_bytes)
                    shares.enter_context(self._bytes.taken(uploader, header.size_bytes))
                    media = await _receive_media(watched, header)
            except TimeoutError:
                raise self._timeout_error() from None
            finally:
                self._timeouts.discard(timeout)
            yield media

    async def _watched(
        self, frames: Frames, timeout: asyncio.Timeout
    ) -> AsyncGenerator[artifact_pb.UploadArtifactRequest, None]:
        """Yield the frames. The timeout passes if they stop or are slow."""
        silence, started, size = self._limits.silence, now(), 0
        timeout.reschedule(started + silence)
        async for frame in frames:
            yield frame
            size += len(frame.chunk)
            if not self._closed:
                slowest = started + silence + size / self._limits.min_rate
                timeout.reschedule(min(now() + silence, slowest))

    def _timeout_error(self) -> DeadlineError | RetryableError:
        if self._closed:
            return RetryableError("this process is shutting down; upload to another replica, or later", Reason.DRAINING)
        return DeadlineError(
            f"the upload stopped for {self._limits.silence:g} s, or had fewer than {self._limits.min_rate:g} bytes per "
            "second; upload again"
        )


class _Shares:
    """An amount that uploaders share. One uploader may take half of it, but at least one upload."""

    def __init__(self, limit: int, unit: str) -> None:
        self._limit, self._unit = limit, unit
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, uploader: str, amount: int) -> Iterator[None]:
        """Take an amount for an uploader inside the context. Raises `OverloadedError` if it is not available."""
        own = self._taken[uploader]
        for taken, limit in ((own, self._limit // 2), (self._taken.total(), self._limit)):
            if taken and taken + amount > limit:
                raise OverloadedError(
                    f"{taken + amount} {self._unit} at the same time are more than the {limit} that are allowed; "
                    "upload again when another upload has ended",
                    metadata={"limit": str(limit)},
                )
        self._taken[uploader] += amount
        try:
            yield
        finally:
            self._taken[uploader] -= amount
            if not self._taken[uploader]:
                del self._taken[uploader]


async def _receive_header(frames: Frames, max_bytes: int) -> artifact_pb.UploadArtifactRequest.Header:
    async for frame in frames:
        if frame.WhichOneof("frame") != "header":
            raise _order_error()
        if frame.header.size_bytes > max_bytes:
            raise RequestError(
                f"a piece of media takes more than the {max_bytes} bytes that are allowed",
                Reason.INPUT_TOO_LARGE,
                {"limit": str(max_bytes)},
            )
        return frame.header
    raise _mismatch("size_bytes")


async def _receive_media(frames: Frames, header: artifact_pb.UploadArtifactRequest.Header) -> Media:
    """Return the media in the chunks after a header. Raises `RequestError` if they do not match the header."""
    data, digest = bytearray(), sha256()
    async for frame in frames:
        if frame.WhichOneof("frame") != "chunk":
            raise _order_error()
        data += frame.chunk
        # The digest of everything at the end would hold the event loop.
        digest.update(frame.chunk)
        if len(data) > header.size_bytes:
            break
    if len(data) != header.size_bytes:
        raise _mismatch("size_bytes")
    if header.sha256 and header.sha256 != digest.digest():
        raise _mismatch("sha256")
    return Media(header.media_type, bytes(data))


def _order_error() -> RequestError:
    return RequestError("an upload is one header, then chunks")


def _mismatch(field: str) -> RequestError:
    return RequestError(f"the chunks do not match the header's {field}: upload again", metadata={"field": field})
