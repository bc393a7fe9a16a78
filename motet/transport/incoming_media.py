"""Media that arrive in a stream, bounded as they arrive."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO

from motet.core.errors import FaultError, MotetError
from motet.core.media import Media
from motet.internal.v1.decoder_service_pb2 import DecodeRequest, DecodeResponse

_Header = DecodeRequest.Input | DecodeResponse.Media


class IncomingMedia:
    """The media that a peer sends, `limit` bytes at most: a header with the first bytes, then chunks.

    Media that break the grammar or the limit raise `error`: a caller's input is another error than a worker's result.
    """

    def __init__(self, peer: str, limit: int, error: type[MotetError] = FaultError) -> None:
        self._peer = peer
        self._limit = limit
        self._error = error
        self._header: _Header | None = None
        # Each chunk is copied and hashed when it arrives. All bytes at once would block the event loop.
        self._data = BytesIO()
        self._digest = sha256()

    @property
    def started(self) -> bool:
        """True once the header is there."""
        return self._header is not None

    @property
    def complete(self) -> bool:
        """True once all bytes are there."""
        return self._header is not None and self._data.tell() == self._header.size_bytes

    def start(self, header: _Header) -> None:
        """Take the header. Raises `error` for a second one, and for one that promises too many bytes."""
        if self._header is not None:
            raise self._error(f"{self._peer} sent two headers of media")
        if header.size_bytes > self._limit:
            raise self._error(f"{self._peer} sends {header.size_bytes} bytes; at most {self._limit} are allowed")
        self._header = header
        self._append(header.data)

    def add(self, chunk: bytes) -> None:
        """Append a chunk. Raises `error` if there is no header, or if the header promised fewer bytes."""
        if self._header is None:
            raise self._error(f"{self._peer} sent a chunk before the header of its media")
        if not chunk:
            raise self._error(f"{self._peer} sent an empty chunk")
        self._append(chunk)

    def checked(self) -> Media:
        """Return the media. Raises `error` if they are incomplete or altered."""
        if self._header is None:
            raise self._error(f"{self._peer} ended its stream without media")
        digest = self._digest.digest()
        if not self.complete or digest != self._header.sha256:
            raise self._error(f"the media of {self._peer} arrived incomplete or altered")
        return Media.with_digest(self._header.media_type, self._data.getvalue(), digest)

    def _append(self, chunk: bytes) -> None:
        assert self._header is not None
        self._data.write(chunk)
        self._digest.update(chunk)
        if self._data.tell() > self._header.size_bytes:
            raise self._error(f"{self._peer} sent more bytes than the {self._header.size_bytes} of its header")
