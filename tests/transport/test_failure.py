"""Tests of failures and cancellation over gRPC: errors, lost workers, deadlines."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.core.clock import now
from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.errors import (
    CancelledError,
    DeadlineError,
    FaultError,
    MotetError,
    OverloadedError,
    Reason,
    RequestError,
    RetryableError,
    error_of,
)
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Progress
from motet.internal.v1 import decoder_service_pb2_grpc
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyEncoder
from motet.transport import convert
from motet.transport.channel import HOP, open_channel
from motet.transport.client_call import open_stream
from motet.transport.clients import RemoteDecoder, RemoteEncoder
from motet.transport.server import Server
from motet.transport.status import CODE_OF, error_from_rpc
from services.decoder.servicer import DecoderServicer
from tests.transport.serving import JOB, served
from tests.waiting import until

LOST = RetryableError("lost", Reason.WORKER_LOST)


class Probe:
    """A decoder that records its calls. Each call raises `error`, or hangs after one event."""

    def __init__(self, error: Exception | None = None) -> None:
        self.endings: list[str] = []
        """For each call, the name of the exception that ended it."""
        self.deadlines: list[Deadline] = []
        self.times: list[float] = []
        """For each call, the time of its arrival."""
        self._error = error

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        self.times.append(now())
        self.deadlines.append(deadline)
        try:
            if self._error:
                raise self._error
            yield Progress(1, 2)
            await asyncio.Event().wait()
        except BaseException as error:
            self.endings.append(type(error).__name__)
            raise


async def failure_of(decoder: Any, deadline: Deadline | None = None) -> MotetError:
    """Return the error of a call that fails."""
    with pytest.raises(MotetError) as caught:
        await drained(decoder, deadline)
    return caught.value


async def drained(decoder: Any, deadline: Deadline | None = None) -> list[Progress | Media]:
    """Return all events of a call."""
    return [event async for event in decoder.decode(JOB, deadline or Deadline.after(30))]


def test_every_reason_has_a_status_code_and_an_error() -> None:
    assert set(CODE_OF) == set(Reason)
    assert grpc.StatusCode.OK not in CODE_OF.values()
    assert {type(error_of(reason, "")) for reason in Reason} >= {RequestError, RetryableError, FaultError}


async def test_a_call_is_tried_again_before_its_first_response() -> None:
    toy = ToyDecoder(fault=InjectedFault(LOST, after=0, times=2))

    async with served(toy) as (_, channel):
        events = await drained(RemoteDecoder(channel))

    assert isinstance(events[-1], Media)
    assert len(toy.seen) == 3


async def test_a_call_is_not_tried_again_after_its_first_response() -> None:
    toy = ToyDecoder(fault=InjectedFault(LOST, after=1, times=1))

    async with served(toy) as (_, channel):
        error = await failure_of(RemoteDecoder(channel))

    assert error.reason is Reason.WORKER_LOST
    assert len(toy.seen) == 1


@pytest.mark.parametrize(
    "error", [OverloadedError("full"), FaultError("no"), RequestError("no"), DeadlineError("late")]
)
async def test_nothing_but_unavailable_is_tried_again(error: MotetError) -> None:
    toy = ToyDecoder(fault=InjectedFault(error))

    async with served(toy) as (_, channel):
        assert type(await failure_of(RemoteDecoder(channel))) is type(error)

    assert len(toy.seen) == 1


async def test_a_dead_service_is_asked_hardly_more_often_than_it_is_called() -> None:
    probe = Probe(LOST)

    async with served(probe) as (_, channel):
        for _ in range(100):
            await failure_of(RemoteDecoder(channel))

    assert 100 < len(probe.deadlines) <= 110


async def test_closing_the_stream_raises_cancelled_error_in_the_worker() -> None:
    probe = Probe()

    async with served(probe) as (_, channel), closing(RemoteDecoder(channel).decode(JOB, Deadline.never())) as events:
        await anext(events)
        await events.aclose()  # type: ignore[attr-defined]
        await until(lambda: probe.endings == ["CancelledError"])


@pytest.mark.parametrize("ending", ["closed", "dropped"])
async def test_two_hundred_unfinished_streams_are_two_hundred_cancelled_calls(ending: str) -> None:
    probe = Probe()

    async with served(probe) as (_, channel):
        decoder = RemoteDecoder(channel)
        streams = [decoder.decode(JOB, Deadline.never()) for _ in range(200)]
        await asyncio.gather(*map(anext, streams))
        while streams:
            stream = streams.pop()
            if ending == "closed":
                await stream.aclose()
            del stream
        gc.collect()
        await until(lambda: len(probe.endings) == 200)

    assert set(probe.endings) == {"CancelledError"}


async def test_open_stream_cancels_the_call_even_if_a_reference_to_the_call_remains() -> None:
    probe = Probe()

    async with served(probe) as (_, channel):
        stub = decoder_service_pb2_grpc.DecoderServiceStub(channel)
        calls = [stub.Decode(convert.decode_job_to_proto(JOB)) for _ in range(200)]
        for call in calls:
            async with open_stream(call) as responses:
                await anext(responses)
        await until(lambda: len(probe.endings) == 200)


async def test_media_are_sent_again_when_the_first_encoder_was_not_there() -> None:
    class Flaky(ToyEncoder):
        async def encode(self, media: Sequence[Media], deadline: Deadline, **whose: Any) -> list[Tensor]:
            embeddings = await super().encode(media, deadline, **whose)
            if len(self.seen) < 3:
                raise LOST
            return embeddings

    toy = Flaky()
    large = Media("", bytes(2**20))

    async with served(toy) as (_, channel):
        await RemoteEncoder(channel).encode([large], Deadline.after(5))

    assert list(toy.seen) == [(large,)] * 3


@pytest.mark.parametrize("text", ["x" * 10**6, "é" * 10**5, "𝄞" * 10**5, "\ud800\0"])
async def test_an_error_with_a_large_message_and_many_metadata_arrives(text: str) -> None:
    error = RequestError(text, metadata={str(number) + text: text for number in range(50)})

    async with served(ToyDecoder(fault=InjectedFault(error))) as (_, channel):
        received = await failure_of(RemoteDecoder(channel))

    assert (type(received), received.reason) == (RequestError, Reason.INVALID_REQUEST)
    assert received.message[:2] == text.replace("\ud800", "\\ud800")[:2]
    assert len(received.metadata) == 8


@settings(max_examples=20)
@given(data=st.binary(min_size=1, max_size=200))
def test_bytes_that_are_no_message_are_an_invalid_argument(data: bytes) -> None:
    async def status_code() -> grpc.StatusCode:
        async with served(ToyDecoder(fault=InjectedFault(RequestError("the bytes are a message")))) as (_, channel):
            call = channel.unary_stream("/motet.internal.v1.DecoderService/Decode")(data + b"\x07")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            return caught.value.code()

    assert asyncio.run(status_code()) is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_text_of_an_unexpected_exception_never_reaches_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    async with served(Probe(ValueError("the secret at 0xdeadbeef"))) as (_, channel):
        error = await failure_of(RemoteDecoder(channel))

    assert (type(error), error.message, error.reason) == (FaultError, "internal error", Reason.INTERNAL)
    assert error.metadata == {}
    assert "the secret" in caplog.text


def test_a_call_that_ends_while_the_client_writes_may_be_tried_again() -> None:
    details = 'Failed "execute_batch": (<grpc._cython.cygrpc.SendMessageOperation object at 0x1>,)'
    error = grpc.aio.AioRpcError(
        grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), grpc.aio.Metadata(), "Internal error from Core", details
    )
    assert isinstance(error_from_rpc(error), RetryableError)


async def test_a_message_larger_than_four_mebibytes_is_a_request_error() -> None:
    job = DecodeJob("image", Tensor("uint8", (2**23,), bytes(2**23)), seed=1)

    async with served(ToyDecoder()) as (_, channel):
        with pytest.raises(RequestError, match="4 MiB") as caught:
            await anext(RemoteDecoder(channel).decode(job, Deadline.after(30)))

    assert caught.value.reason is Reason.INPUT_TOO_LARGE


async def start_decoder(address: str, worker: str) -> tuple[asyncio.subprocess.Process, str]:
    """Start the process of a decoder. Return it and the address that it serves."""
    code = (
        "import asyncio, sys\n"
        "from motet.toys.workers import Pause, ToyDecoder, InjectedFault\n"
        "from motet.transport.server import Server\n"
        "from services.decoder.servicer import DecoderServicer\n"
        f"server = Server([DecoderServicer({worker})], address=sys.argv[1])\n"
        "asyncio.run(server.run(5, lambda server: print(server.address, flush=True)))\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, address, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    return process, (await process.stdout.readline()).decode().strip()


async def test_a_worker_killed_during_a_call_is_lost_and_is_found_again_after_its_restart() -> None:
    process, address = await start_decoder("127.0.0.1:0", "ToyDecoder(fault=InjectedFault(Pause(), after=1))")
    async with open_channel(address) as channel:
        decoder = RemoteDecoder(channel)
        events = decoder.decode(JOB, Deadline.after(30))
        await anext(events)
        process.kill()
        await process.wait()
        with pytest.raises(RetryableError) as lost:
            await anext(events)
        assert (await failure_of(decoder)).reason is Reason.WORKER_UNAVAILABLE

        process, _ = await start_decoder(address, "ToyDecoder()")
        await reconnected(decoder)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0

    assert lost.value.reason is Reason.WORKER_LOST


async def reconnected(decoder: RemoteDecoder) -> None:
    """Call until a call succeeds. gRPC pauses up to 6 seconds between attempts to connect."""
    async with asyncio.timeout(90):
        while True:
            try:
                await drained(decoder)
            except RetryableError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_new_channel_connects_at_once_while_another_channel_to_the_address_is_in_backoff() -> None:
    async with served(ToyDecoder()) as (stopped, channel):
        await stopped.stop()
        for _ in range(20):
            assert (await failure_of(RemoteDecoder(channel))).reason is Reason.WORKER_UNAVAILABLE
            await asyncio.sleep(0.05)
        async with (
            Server([DecoderServicer(ToyDecoder())], address=stopped.address) as restarted,
            open_channel(restarted.address) as new_channel,
        ):
            decoder = RemoteDecoder(new_channel)
            results = await asyncio.gather(*(drained(decoder) for _ in range(20)))

    assert all(isinstance(events[-1], Media) for events in results)


async def test_a_call_waits_for_a_connection_that_is_established_slowly() -> None:
    async with served(ToyDecoder()) as (server, _):
        host, _, port = server.address.rpartition(":")

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.4)
            server_reader, server_writer = await asyncio.open_connection(host, int(port))
            await asyncio.gather(copy(reader, server_writer), copy(server_reader, writer))

        async with await asyncio.start_server(forward, "127.0.0.1", 0) as slow:
            address = "{}:{}".format(*slow.sockets[0].getsockname())
            async with open_channel(address) as channel:
                events = await drained(RemoteDecoder(channel))

    assert isinstance(events[-1], Media)


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy all bytes of a connection."""
    try:
        while data := await reader.read(2**16):
            writer.write(data)
    finally:
        writer.close()


async def test_the_error_without_a_server_is_worker_unavailable_and_names_the_worker() -> None:
    async with open_channel("127.0.0.1:1") as channel:
        error = await failure_of(RemoteDecoder(channel))

    assert (type(error), error.reason) == (RetryableError, Reason.WORKER_UNAVAILABLE)
    assert "the image decoder cannot be reached" in error.message


async def test_a_deadline_shrinks_at_each_hop() -> None:
    probe = Probe(FaultError("enough"))

    async with served(probe) as (_, channel):
        started, callers = now(), Deadline.after(9)
        await failure_of(RemoteDecoder(channel), callers)
        await failure_of(RemoteDecoder(channel), Deadline.never())

    workers, unbounded = probe.deadlines
    assert workers.at is not None
    assert callers.at is not None
    # gRPC sends the remaining time, so the worker's deadline is later by the time on the way.
    on_the_way = probe.times[0] - started
    assert callers.at - HOP - 0.1 < workers.at < callers.at - HOP + 0.02 + on_the_way
    assert unbounded == Deadline.never()


async def test_a_call_of_a_hanging_worker_fails_and_is_cancelled_at_the_deadline() -> None:
    probe = Probe()

    async with served(probe) as (_, channel):
        seconds = 0.2
        while not probe.deadlines:  # On a busy machine, a call may reach its deadline before it reaches the worker.
            error = await failure_of(RemoteDecoder(channel), Deadline.after(seconds))
            assert type(error) is DeadlineError
            seconds *= 2
        await until(lambda: probe.endings == ["CancelledError"])


async def test_a_cancellation_reported_by_a_worker_is_an_error_and_does_not_cancel_the_caller() -> None:
    async with served(Probe(CancelledError("the operator cancelled the call"))) as (_, channel):
        error = await failure_of(RemoteDecoder(channel))

    assert (type(error), error.message) == (CancelledError, "the operator cancelled the call")


async def test_embeddings_that_are_fewer_than_the_media_are_an_error() -> None:
    class IncompleteEncoder(ToyEncoder):
        async def encode(self, media: Sequence[Media], deadline: Deadline, **caller: Any) -> list[Tensor]:
            return (await super().encode(media, deadline, **caller))[1:]

    async with served(IncompleteEncoder()) as (_, channel):
        with pytest.raises(FaultError, match="1 embeddings for 2 items"):
            await RemoteEncoder(channel).encode([Media("", b"1"), Media("", b"2")], Deadline.after(30))


async def test_a_timeout_of_the_reader_stops_a_hanging_worker() -> None:
    toy = ToyDecoder(fault=InjectedFault(Pause()))

    async with served(toy) as (_, channel):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await drained(RemoteDecoder(channel))
        await until(lambda: toy.running == 0)
