"""The upload and download of artifacts, in chunks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator

import grpc.aio

from motet.core.errors import FaultError
from motet.core.events import Artifact
from motet.core.media import Media, chunks
from motet.core.request import MAX_INT64, check_range
from motet.transport import convert
from motet.transport.client_call import open_stream, unary
from motet.v1 import artifact_service_pb2 as pb
from motet.v1 import artifact_service_pb2_grpc


class ArtifactClient:
    """A client of the artifact service. `timeout` limits uploads and deletions, in seconds. `peer` names the server.

    `check` runs before each call, and raises an error if no call is possible.
    """

    def __init__(self, channel: grpc.aio.Channel, timeout: float, peer: str, check: Callable[[], None]) -> None:
        self._stub = artifact_service_pb2_grpc.ArtifactServiceStub(channel)
        self._timeout = timeout
        self._peer = peer
        self._check = check

    async def upload(self, media: Media) -> Artifact:
        """Upload media. Raise `MediaError` if the server cannot read the media."""
        self._check()
        call = self._stub.UploadArtifact(_upload_requests(media), timeout=self._timeout)
        return convert.artifact_from_proto((await unary(call, self._peer)).artifact)

    async def download(self, name: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of an artifact from an offset, in chunks. Raise `NotFoundError` for an unknown name."""
        self._check()
        check_range("offset", offset, 0, MAX_INT64)
        call = self._stub.DownloadArtifact(pb.DownloadArtifactRequest(name=name, offset=offset))
        async with open_stream(call, self._peer) as responses:
            async for response in responses:
                if response.offset != offset:
                    raise FaultError(f"{self._peer} skipped bytes of {name}; repeat the download")
                offset += len(response.chunk)
                yield response.chunk

    async def delete(self, name: str) -> None:
        """Delete an artifact. Do nothing if it does not exist."""
        self._check()
        await unary(self._stub.DeleteArtifact(pb.DeleteArtifactRequest(name=name), timeout=self._timeout), self._peer)


def _upload_requests(media: Media) -> Iterator[pb.UploadArtifactRequest]:
    header = pb.UploadArtifactRequest.Header(
        media_type=media.media_type, size_bytes=len(media.data), sha256=media.sha256
    )
    yield pb.UploadArtifactRequest(header=header)
    for chunk in chunks(media.data):
        yield pb.UploadArtifactRequest(chunk=chunk)
