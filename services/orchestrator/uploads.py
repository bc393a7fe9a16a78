"""The uploads in progress: their number and size are bounded. The server bounds their duration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO

from motet.core.errors import Reason, RequestError, RetryableError
from motet.core.media import MEBI, Media
from motet.scheduling.shares import Shares
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.v1 import artifact_service_pb2 as artifact_pb

Frames = AsyncIterator[artifact_pb.UploadArtifactRequest]

_ADVICE = "upload again when another upload has ended"


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """The limits of the uploads of a process, which uploaders share, see `Shares`.

    An uploader is a tenant, or a connection of an anonymous caller.
    """

    uploads: int = 16
    bytes: int = 128 * MEBI


class Uploads:
    """The uploads in progress of a process."""

    def __init__(self, limits: UploadLimits | None = None) -> None:
        limits = limits or UploadLimits()
        self._uploads = Shares(limits.uploads, "uploads", _ADVICE)
        self._bytes = Shares(limits.bytes, "bytes of uploads", _ADVICE)
        self._timeouts: set[asyncio.Timeout] = set()

    async def close_with(self, limiter: ConcurrencyLimiter) -> None:
        """Wait until the limiter is closed, then end the uploads that have not arrived completely.

        The artifacts of a process end with the process, so a complete upload would be of no use.
        """
        await limiter.wait_closed()
        for timeout in self._timeouts:
            timeout.reschedule(0)

    @asynccontextmanager
    async def received(self, frames: Frames, uploader: str, max_bytes: int) -> AsyncIterator[Media]:
        """Receive the media of an upload, and count the upload for its uploader until the context ends.

        Raises `OverloadedError` if the upload exceeds a share, `RequestError` if the frames do not match the header or
        exceed `max_bytes`, and `RetryableError` once the process drains.
        """
        with ExitStack() as shares:
            shares.enter_context(self._uploads.taken(uploader, 1))
            timeout = asyncio.timeout(None)
            self._timeouts.add(timeout)
            try:
                async with timeout:
                    header = await _receive_header(frames, max_bytes)
                    shares.enter_context(self._bytes.taken(uploader, header.size_bytes))
                    media = await _receive_media(frames, header)
            except TimeoutError:
                raise RetryableError(
                    "this process is shutting down; upload to another replica, or later", Reason.DRAINING
                ) from None
            finally:
                self._timeouts.discard(timeout)
            yield media


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
    data, digest = BytesIO(), sha256()
    async for frame in frames:
        if frame.WhichOneof("frame") != "chunk":
            raise _order_error()
        data.write(frame.chunk)
        # The digest of everything at the end would hold the event loop.
        digest.update(frame.chunk)
        if data.tell() > header.size_bytes:
            break
    if data.tell() != header.size_bytes:
        raise _mismatch("size_bytes")
    if header.sha256 and header.sha256 != digest.digest():
        raise _mismatch("sha256")
    return Media.with_digest(header.media_type, data.getvalue(), digest.digest())


def _order_error() -> RequestError:
    return RequestError("an upload is one header, then chunks")


def _mismatch(field: str) -> RequestError:
    return RequestError(f"the chunks do not match the header's {field}: upload again", metadata={"field": field})
