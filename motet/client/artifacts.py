"""The upload and download of artifacts, in chunks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

from motet.client.connection import Connection
from motet.core.errors import FaultError, Reason, RetryableError
from motet.core.events import Artifact
from motet.core.media import Media, chunks
from motet.core.request import MAX_INT64, check_range
from motet.transport import convert
from motet.v1 import artifact_service_pb2 as pb
from motet.v1 import artifact_service_pb2_grpc


class ArtifactClient:
    """A client of the artifact service."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = artifact_service_pb2_grpc.ArtifactServiceStub(connection.channel)

    async def upload(self, media: Media) -> Artifact:
        """Upload media. Raise `MediaError` if the server cannot read the media."""
        response = await self._connection.unary(self._stub.UploadArtifact, _upload_requests(media))
        return convert.artifact_from_proto(response.artifact)

    async def download(self, name: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of an artifact from an offset, in chunks. Raise `NotFoundError` for an unknown name.

        If the chunks were not read for a long time, so that the server ended the download, it continues.
        """
        check_range("offset", offset, 0, MAX_INT64)
        while True:
            start = offset
            request = pb.DownloadArtifactRequest(name=name, offset=offset)
            try:
                async with self._connection.stream(self._stub.DownloadArtifact, request) as responses:
                    async for response in responses:
                        if response.offset != offset:
                            raise FaultError(f"{self._connection.peer} skipped bytes of {name}; repeat the download")
                        offset += len(response.chunk)
                        yield response.chunk
                return
            except RetryableError as error:
                if error.reason is not Reason.SLOW_READER or offset == start:
                    raise

    async def delete(self, name: str) -> None:
        """Delete an artifact. Do nothing if it does not exist."""
        await self._connection.unary(self._stub.DeleteArtifact, pb.DeleteArtifactRequest(name=name))


def _upload_requests(media: Media) -> Iterator[pb.UploadArtifactRequest]:
    header = pb.UploadArtifactRequest.Header(
        media_type=media.media_type, size_bytes=len(media.data), sha256=media.sha256
    )
    yield pb.UploadArtifactRequest(header=header)
    for chunk in chunks(media.data):
        yield pb.UploadArtifactRequest(chunk=chunk)
