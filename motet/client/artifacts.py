"""Media that are too large for a message, to a server and back, in chunks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

import grpc.aio

from motet.core.errors import FaultError
from motet.core.events import Artifact
from motet.core.media import Media
from motet.transport import convert
from motet.transport.channel import chunks
from motet.transport.client_call import open_stream, unary
from motet.v1 import artifact_service_pb2 as pb
from motet.v1 import artifact_service_pb2_grpc


class ArtifactClient:
    """The artifacts of a server. `timeout` bounds each call but downloads, in seconds; `whom` names the server."""

    def __init__(self, channel: grpc.aio.Channel, timeout: float, whom: str) -> None:
        self._stub = artifact_service_pb2_grpc.ArtifactServiceStub(channel)
        self._timeout = timeout
        self._whom = whom

    async def upload(self, media: Media) -> Artifact:
        """Have media kept. Raises `MediaError` for what cannot be read."""
        call = self._stub.UploadArtifact(_frames(media), timeout=self._timeout)
        return convert.artifact_from_proto((await unary(call, self._whom)).artifact)

    async def download(self, name: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes of an artifact from an offset, in chunks. Raises `NotFoundError`."""
        call = self._stub.DownloadArtifact(pb.DownloadArtifactRequest(name=name, offset=offset))
        async with open_stream(call, self._whom) as responses:
            async for response in responses:
                if response.offset != offset:
                    raise FaultError(f"{self._whom} left out bytes of {name}; download it again")
                offset += len(response.chunk)
                yield response.chunk

    async def delete(self, name: str) -> None:
        """Have an artifact forgotten, if it is there."""
        await unary(self._stub.DeleteArtifact(pb.DeleteArtifactRequest(name=name), timeout=self._timeout), self._whom)


def _frames(media: Media) -> Iterator[pb.UploadArtifactRequest]:
    header = pb.UploadArtifactRequest.Header(
        media_type=media.media_type, size_bytes=len(media.data), sha256=media.sha256
    )
    yield pb.UploadArtifactRequest(header=header)
    for chunk in chunks(media.data):
        yield pb.UploadArtifactRequest(chunk=chunk)
