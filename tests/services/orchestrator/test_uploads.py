"""Tests of uploads that do not end, are too many or too large, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import grpc
import pytest

from motet.core.errors import MotetError, Reason
from motet.transport.bounds.limits import CallLimits
from motet.transport.channel import open_channel
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.server import Server
from motet.transport.status import error_from_rpc
from motet.v1 import artifact_service_pb2 as artifact_pb
from motet.v1 import artifact_service_pb2_grpc as artifact_grpc
from services.orchestrator.servicer import ArtifactServicer
from services.orchestrator.settings import OrchestratorServiceSettings
from services.orchestrator.uploads import UploadLimits, Uploads
from tests.callers import for_anyone
from tests.orchestrator.pipeline_harness import orchestrator_of, script_of
from tests.transport.ended_calls import reasons_of_ended_calls
from tests.waiting import until

CHUNK = b"a" + bytes(99)


class Upload:
    """An upload whose chunks are sent one by one."""

    def __init__(self, channel: grpc.aio.Channel, size: int = 1000) -> None:
        self._call = artifact_grpc.ArtifactServiceStub(channel).UploadArtifact()
        self._size = size

    async def start(self) -> Upload:
        """Send the header and a chunk."""
        header = artifact_pb.UploadArtifactRequest.Header(size_bytes=self._size)
        await self._write(artifact_pb.UploadArtifactRequest(header=header))
        await self.send()
        return self

    async def send(self) -> None:
        """Send a chunk."""
        await self._write(artifact_pb.UploadArtifactRequest(chunk=CHUNK))

    async def _write(self, frame: artifact_pb.UploadArtifactRequest) -> None:
        # The server may have ended the upload already. `error` returns its error.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._call.write(frame)

    async def complete(self) -> artifact_pb.UploadArtifactResponse:
        """End the stream and return the response."""
        await self._call.done_writing()
        return await self._call  # type: ignore[no-any-return]

    async def error(self) -> MotetError:
        """Wait until the server ends the upload with an error."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self._call
        error = error_from_rpc(caught.value)
        assert isinstance(error, MotetError)
        return error

    def cancel(self) -> None:
        """Hang up."""
        self._call.cancel()


@asynccontextmanager
async def deployed(
    limits: UploadLimits | None = None, call_limits: CallLimits | None = None
) -> AsyncIterator[tuple[Server, Uploads]]:
    """Yield a server, and its uploads."""
    limiter, uploads = ConcurrencyLimiter(), Uploads(limits)
    closing = asyncio.create_task(uploads.close_with(limiter))
    async with Server(
        [ArtifactServicer(for_anyone(orchestrator_of(script_of("fine"))), uploads)],
        limiter=limiter,
        call_limits=call_limits,
    ) as server:
        yield server, uploads
    closing.cancel()


def running(uploads: Uploads) -> int:
    return uploads._uploads.total


async def test_an_upload_that_stops_is_ended() -> None:
    call_limits = CallLimits(receive_timeout=0.2)
    async with deployed(call_limits=call_limits) as (server, uploads), open_channel(server.address) as channel:
        error = await (await Upload(channel).start()).error()

        assert error.reason is Reason.DEADLINE_EXCEEDED
        assert "stopped for 0.2 s" in error.message
        await until(lambda: running(uploads) == 0)


async def test_an_upload_that_sends_a_little_now_and_then_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    call_limits = CallLimits(receive_timeout=0.5, min_receive_rate=1e9)
    async with deployed(call_limits=call_limits) as (server, _), open_channel(server.address) as channel:
        upload = await Upload(channel, 1_000_000).start()

        async def trickle() -> None:
            while True:
                await upload.send()
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        await upload.error()
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)
        await until(lambda: reasons_of_ended_calls(caplog) == [Reason.DEADLINE_EXCEEDED])


async def test_a_connection_may_have_half_of_the_uploads() -> None:
    async with (
        deployed(UploadLimits(uploads=4)) as (server, uploads),
        open_channel(server.address) as one,
        connection_of_its_own(server.address) as other,
    ):
        open_uploads = [await Upload(one).start() for _ in range(2)]
        await until(lambda: running(uploads) == 2)

        error = await Upload(one).error()
        assert error.reason is Reason.QUEUE_FULL
        assert "3 uploads are more than this caller may have at the same time" in error.message

        complete = await Upload(other, size=100).start()
        assert (await complete.complete()).artifact.size_bytes == 100
        open_uploads[0].cancel()
        await until(lambda: running(uploads) == 1)
        complete = await Upload(one, size=100).start()
        assert (await complete.complete()).artifact.size_bytes == 100


async def test_the_announced_bytes_of_all_uploads_are_bounded() -> None:
    async with (
        deployed(UploadLimits(bytes=4000)) as (server, uploads),
        open_channel(server.address) as one,
        connection_of_its_own(server.address) as other,
        connection_of_its_own(server.address) as third,
    ):
        uploads_of_one = [await Upload(one, 1000).start() for _ in range(2)]
        await until(lambda: uploads._bytes.total == 2000)
        assert "3000 bytes of uploads" in (await (await Upload(one, 1000).start()).error()).message

        uploads_of_other = await Upload(other, 1500).start()
        await until(lambda: uploads._bytes.total == 3500)
        assert "600 bytes of uploads" in (await (await Upload(third, 600).start()).error()).message

        for upload in uploads_of_one:
            upload.cancel()
        await until(lambda: uploads._bytes.total == 1500)
        uploads_of_other.cancel()
        await until(lambda: running(uploads) == 0)


async def test_a_caller_that_is_still_sending_gets_the_error() -> None:
    def frames() -> Iterator[artifact_pb.UploadArtifactRequest]:
        yield artifact_pb.UploadArtifactRequest(header=artifact_pb.UploadArtifactRequest.Header(size_bytes=8_000_000))
        for _ in range(80):
            yield artifact_pb.UploadArtifactRequest(chunk=bytes(100_000))

    async with deployed(UploadLimits(uploads=2)) as (server, uploads), open_channel(server.address) as channel:
        held = await Upload(channel).start()
        await until(lambda: running(uploads) == 1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await artifact_grpc.ArtifactServiceStub(channel).UploadArtifact(frames())

        assert error_from_rpc(caught.value).reason is Reason.QUEUE_FULL
        held.cancel()


async def test_one_upload_may_exceed_the_bytes_if_it_is_the_only_one() -> None:
    async with deployed(UploadLimits(bytes=100)) as (server, _), open_channel(server.address) as channel:
        upload = await Upload(channel, 200).start()
        await upload.send()

        assert (await upload.complete()).artifact.size_bytes == 200


async def test_a_draining_server_ends_uploads_at_once() -> None:
    async with (
        deployed(call_limits=CallLimits(receive_timeout=1000)) as (server, uploads),
        open_channel(server.address) as channel,
    ):
        upload = await Upload(channel).start()
        await until(lambda: running(uploads) == 1)

        assert await server.drain(1000) == 0
        assert (await upload.error()).reason is Reason.DRAINING


def test_the_settings_of_uploads_are_the_limits() -> None:
    assert OrchestratorServiceSettings().upload_limits == UploadLimits()


def connection_of_its_own(address: str) -> grpc.aio.Channel:
    """Return a channel that shares no connection with other channels of this process."""
    return grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
