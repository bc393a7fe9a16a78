"""Tests of the orchestrator's gRPC services on a real server."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager
from hashlib import sha256

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from motet.core.errors import CancelledError, DeadlineError, FaultError, NotFoundError, Reason, RequestError
from motet.core.events import Event, PartDelta, PartFailed, State
from motet.core.media import CHUNK_BYTES, Media
from motet.core.request import ArtifactName
from motet.core.workers import Finished, TextPiece, Workers
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyEncoder, ToyLanguageModel
from motet.transport import convert
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteLanguageModel
from motet.transport.server import Server
from motet.transport.status import error_from_rpc
from motet.v1 import artifact_service_pb2 as artifact_pb
from motet.v1 import artifact_service_pb2_grpc as artifact_grpc
from motet.v1 import event_pb2, media_pb2
from motet.v1 import generation_service_pb2 as generation_pb
from motet.v1 import generation_service_pb2_grpc as generation_grpc
from motet.v1 import model_service_pb2 as model_pb
from motet.v1 import model_service_pb2_grpc as model_grpc
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer, ModelServicer
from tests.callers import for_anyone
from tests.orchestrator.event_grammar import check_events
from tests.orchestrator.pipeline_harness import (
    MANIFEST,
    orchestrator_of,
    payloads_of,
    record_of,
    request_of,
    run_generation,
    script_of,
    signal_run,
    toy_decoders,
    wait_idle,
)
from tests.scripted_motet import NAME, ScriptedMotet
from tests.transport.serving import served
from tests.waiting import unchanged, until

SCRIPT = script_of("An a: ", signal_run("a"), " and b: ", signal_run("b"), " done")


class Stubs:
    """A caller that uses the generated stubs."""

    def __init__(self, channel):
        self.generation = generation_grpc.GenerationServiceStub(channel)
        self.artifact = artifact_grpc.ArtifactServiceStub(channel)
        self.model = model_grpc.ModelServiceStub(channel)

    async def generate(self, request, timeout=None):
        """Return the events without heartbeats. If the call raises, `events` has the events received before."""
        self.events = []
        async for response in self.generation.Generate(convert.request_to_proto(request), timeout=timeout):
            self.events += [event for event in map(convert.event_from_proto, response.events) if event]
        return self.events

    async def upload(self, data, media_type="", size=None, digest=b"", header=True):
        async def frames():
            if header:
                yield artifact_pb.UploadArtifactRequest(
                    header=artifact_pb.UploadArtifactRequest.Header(
                        media_type=media_type, size_bytes=len(data) if size is None else size, sha256=digest
                    )
                )
            for start in range(0, len(data), 262_144):
                yield artifact_pb.UploadArtifactRequest(chunk=data[start : start + 262_144])

        return (await self.artifact.UploadArtifact(frames())).artifact


class EndlessMotet(ScriptedMotet):
    """A `Motet` whose generation has chunks of media without end. It counts them."""

    produced = 0

    async def watch(self, name, after_sequence=0):
        while True:
            self.produced += 1
            yield Event(self.produced, 1.5e9, PartDelta("part-0", 0, bytes(CHUNK_BYTES)))


@asynccontextmanager
async def deployed(orchestrator, **options):
    """Yield stubs of an orchestrator's services."""
    servicers = [
        GenerationServicer(for_anyone(orchestrator), **options),
        ArtifactServicer(for_anyone(orchestrator)),
        ModelServicer(for_anyone(orchestrator)),
    ]
    async with Server(servicers) as server, open_channel(server.address) as channel:
        yield Stubs(channel)


def error_of(caught):
    """Return the error of a status, which must have exactly one `ErrorInfo`."""
    error = caught.value
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    infos = [detail for detail in status.details if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert len(infos) == 1
    return error_from_rpc(error)


def digests_of(events):
    return [(part.part_id, part.sha256) for part in record_of(events).parts]


async def test_an_answer_over_grpc_equals_the_embedded_answer_also_with_remote_workers():
    request = request_of("What?", Media("x/a", b"a thing"), seed=11, previews=True)
    embedded = await run_generation(orchestrator_of(SCRIPT), request)
    decoders = toy_decoders()
    model = ToyLanguageModel(MANIFEST.grammar, SCRIPT)
    async with (
        served(ToyEncoder()) as (_, encoder_channel),
        served(model) as (_, model_channel),
        served(decoders["a"]) as (_, a_channel),
        served(decoders["b"]) as (_, b_channel),
    ):
        remote = Workers(
            RemoteEncoder(encoder_channel),
            RemoteLanguageModel(model_channel),
            {"a": RemoteDecoder(a_channel), "b": RemoteDecoder(b_channel)},
        )
        orchestrator = orchestrator_of(workers=remote)
        assert digests_of(await run_generation(orchestrator, request)) == digests_of(embedded)
        async with deployed(orchestrator) as stubs:
            events = await stubs.generate(request)

    check_events(events)
    assert digests_of(events) == digests_of(embedded)
    assert record_of(events).state is State.SUCCEEDED


async def test_a_partial_answer_ends_with_ok():
    broken = ToyDecoder("a", fault=InjectedFault(FaultError("broken")))
    async with deployed(orchestrator_of(SCRIPT, toy_decoders(a=broken))) as stubs:
        events = await stubs.generate(request_of())

    check_events(events)
    assert record_of(events).state is State.PARTIAL
    assert payloads_of(events, PartFailed)[0].error.message == "broken"


async def test_a_failed_answer_ends_with_done_and_an_error_status():
    async with deployed(orchestrator_of([FaultError("broken")])) as stubs:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stubs.generate(request_of())

    check_events(stubs.events)
    assert error_of(caught).reason is Reason.WORKER_FAULT


async def test_an_invalid_request_fails_before_any_event():
    async with deployed(orchestrator_of()) as stubs:
        for request, kind in ((request_of(" "), RequestError), (request_of(model="huge"), NotFoundError)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stubs.generate(request)
            assert isinstance(error_of(caught), kind)
            assert stubs.events == []


async def test_done_arrives_before_the_calls_deadline():
    async with deployed(orchestrator_of(script_of("so far", Pause()), deadline_margin=0.6)) as stubs:
        events = await stubs.generate(request_of(), timeout=3)

    check_events(events)
    assert record_of(events).state is State.PARTIAL
    assert isinstance(record_of(events).error, DeadlineError)


@pytest.mark.parametrize("point", [0, 1, 2, 3, 4, 8, 12])
async def test_cancelling_the_call_at_any_point_stops_all_workers(point):
    model = ToyLanguageModel(MANIFEST.grammar, [*SCRIPT, Pause()], delay=0.001)
    decoders = toy_decoders(a=ToyDecoder("a", delay=0.01), b=ToyDecoder("b", delay=0.01))
    orchestrator = orchestrator_of(model, decoders)
    async with deployed(orchestrator, min_interval=0) as stubs:
        call = stubs.generation.Generate(convert.request_to_proto(request_of()))
        received = 0
        while received < point:
            received += len((await call.read()).events)
        if point:
            await until(lambda: len(model.seen) > 0)
        call.cancel()
        await until(lambda: orchestrator.running == 0)
        assert model.running + sum(decoder.running for decoder in decoders.values()) == 0


async def test_a_detached_generation_can_be_watched_after_its_call_was_cancelled():
    async with deployed(orchestrator_of(SCRIPT, toy_decoders(a=ToyDecoder("a", delay=0.01)))) as stubs:
        call = stubs.generation.Generate(convert.request_to_proto(request_of(detach=True)), timeout=30)
        (first, *_) = (await call.read()).events
        call.cancel()
        name = first.accepted.generation
        request = generation_pb.WatchGenerationRequest(name=name, after_sequence=1)
        rest = [convert.event_from_proto(e) async for r in stubs.generation.WatchGeneration(request) for e in r.events]

    events = [convert.event_from_proto(first), *rest]
    check_events(events)
    assert record_of(events).state is State.SUCCEEDED


async def test_the_caller_of_cancel_and_the_caller_of_generate_both_get_the_end():
    orchestrator = orchestrator_of(script_of("x", Pause()))
    async with deployed(orchestrator) as stubs:
        generating = asyncio.create_task(stubs.generate(request_of()))
        await until(lambda: orchestrator.running == 1)
        (running,) = (await stubs.generation.ListGenerations(generation_pb.ListGenerationsRequest())).generations
        request = generation_pb.CancelGenerationRequest(name=running.name)
        cancelled = (await stubs.generation.CancelGeneration(request)).generation
        assert orchestrator.running == 0
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await generating
        known = await stubs.generation.GetGeneration(generation_pb.GetGenerationRequest(name=running.name))

    assert running.state == event_pb2.Generation.STATE_RUNNING
    assert cancelled.state == known.generation.state == event_pb2.Generation.STATE_CANCELLED
    assert isinstance(error_of(caught), CancelledError)
    check_events(stubs.events)


class HeldLanguageModel:
    """A language model that waits in the middle of its answer until `release` is set."""

    def __init__(self):
        self.release = asyncio.Event()

    async def generate(self, prompt, deadline):
        yield TextPiece("x")
        await self.release.wait()
        yield Finished("stop", 1, 1)


async def test_a_silent_stream_sends_heartbeats():
    model = HeldLanguageModel()
    events, heartbeats = [], []
    async with deployed(orchestrator_of(model), heartbeat=0.02) as stubs:
        async for response in stubs.generation.Generate(convert.request_to_proto(request_of())):
            events += response.events
            heartbeats = [event for event in events if event.WhichOneof("event") == "heartbeat"]
            if len(heartbeats) == 2:
                model.release.set()

    assert len(heartbeats) >= 2
    sequences = [event.sequence for event in events]
    assert sequences == sorted(sequences)
    assert {heartbeat.sequence for heartbeat in heartbeats} <= set(sequences)
    check_events([event for event in map(convert.event_from_proto, events) if event])


async def test_events_within_the_minimum_interval_are_in_one_message_and_the_last_message_does_not_wait():
    async with (
        asyncio.timeout(50),
        deployed(orchestrator_of(script_of("x", Pause(0.05), "y")), min_interval=60) as stubs,
    ):
        (response,) = [response async for response in stubs.generation.Generate(convert.request_to_proto(request_of()))]

    assert response.events[0].WhichOneof("event") == "accepted"
    assert response.events[-1].WhichOneof("event") == "done"


async def test_events_that_are_ready_at_the_same_time_are_in_one_message():
    orchestrator = orchestrator_of(SCRIPT)
    async with deployed(orchestrator) as stubs:
        events = await stubs.generate(request_of())
        request = generation_pb.WatchGenerationRequest(name=events[0].payload.generation)
        (replayed,) = [response async for response in stubs.generation.WatchGeneration(request)]

    assert list(map(convert.event_from_proto, replayed.events)) == events


async def test_no_message_is_much_larger_than_a_chunk():
    size = 2**20
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=ToyDecoder("a", size=size), b=ToyDecoder("b", size=size)))
    async with deployed(orchestrator) as stubs:
        events = await stubs.generate(request_of())
        request = generation_pb.WatchGenerationRequest(name=events[0].payload.generation)
        sizes = [response.ByteSize() async for response in stubs.generation.WatchGeneration(request)]

    check_events(events)
    assert record_of(events).state is State.SUCCEEDED
    assert sum(sizes) > 2 * size
    assert max(sizes) < 2**18 + 1000


async def test_a_reader_that_stalls_holds_few_events_beyond_the_log():
    motet = EndlessMotet()
    async with deployed(motet) as stubs:
        call = stubs.generation.WatchGeneration(generation_pb.WatchGenerationRequest(name=NAME))
        await anext(aiter(call))
        await unchanged(lambda: motet.produced)
        held = motet.produced * CHUNK_BYTES
        call.cancel()

    assert held <= 4 * 2**20


async def test_a_call_leaves_no_task_behind():
    orchestrator = orchestrator_of(SCRIPT)
    async with deployed(orchestrator) as stubs:
        await stubs.generate(request_of())
        before = asyncio.all_tasks()
        await stubs.generate(request_of())
        await wait_idle(orchestrator)
        await until(lambda: all(task.done() for task in asyncio.all_tasks() - before))


async def test_an_upload_is_used_in_a_prompt_downloaded_and_deleted():
    data = b"a" + bytes(600_000)
    async with deployed(orchestrator_of(SCRIPT)) as stubs:
        artifact = await stubs.upload(data, "x/a", digest=sha256(data).digest())
        events = await stubs.generate(request_of("What?", ArtifactName(artifact.name)))
        request = artifact_pb.DownloadArtifactRequest(name=artifact.name, offset=5)
        chunks = [(r.offset, r.chunk) async for r in stubs.artifact.DownloadArtifact(request)]
        await stubs.artifact.DeleteArtifact(artifact_pb.DeleteArtifactRequest(name=artifact.name))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stubs.artifact.DownloadArtifact(request).read()

    assert record_of(events).state is State.SUCCEEDED
    assert b"".join(chunk for _, chunk in chunks) == data[5:]
    assert [offset for offset, _ in chunks] == [5, 262_144, 524_288]
    assert error_of(caught).reason is Reason.ARTIFACT_NOT_FOUND


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"size": 9}, Reason.INVALID_REQUEST),
        ({"size": 2**40}, Reason.INPUT_TOO_LARGE),
        ({"digest": bytes(32)}, Reason.INVALID_REQUEST),
        ({"header": False}, Reason.INVALID_REQUEST),
    ],
    ids=["too short", "too large", "other bytes", "no header"],
)
async def test_an_upload_that_does_not_match_its_header_is_refused(options, reason):
    async with deployed(orchestrator_of()) as stubs:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stubs.upload(b"a thing", "x/a", **options)

    assert error_of(caught).reason is reason


async def test_the_status_of_a_failed_generation_keeps_no_request_in_memory():
    decoders, encoder = toy_decoders(a=ToyDecoder("a", fault=InjectedFault(FaultError("broken")))), ToyEncoder()
    orchestrator = orchestrator_of(script_of(signal_run("a")), decoders, encoder=encoder)
    async with deployed(orchestrator) as stubs:
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError):
                await stubs.generate(request_of(Media("x/b", b"b" + bytes(54_321))))

    def kept() -> list[str]:
        gc.collect()
        # isinstance would ask objects of torch that warn when they are asked.
        media = [each for each in gc.get_objects() if type(each) is Media]
        return [each.media_type for each in media if len(each.data) == 54_322]

    encoder.seen.clear()
    # The tasks of the last call may end a moment after its client has the error.
    await until(lambda: not kept())


async def test_models_are_listed_and_found_by_name():
    async with deployed(orchestrator_of()) as stubs:
        (listed,) = (await stubs.model.ListModels(model_pb.ListModelsRequest())).models
        named = (await stubs.model.GetModel(model_pb.GetModelRequest(name="toy"))).model
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stubs.model.GetModel(model_pb.GetModelRequest(name="huge"))

    assert listed == named
    assert [output.modality for output in listed.outputs] == ["a", "b"]
    assert error_of(caught).reason is Reason.MODEL_NOT_FOUND


async def test_300_parts_are_refused_by_the_validation_of_messages():
    turn = media_pb2.Turn(role=media_pb2.Turn.ROLE_USER, parts=[media_pb2.InputPart(text="x")] * 300)
    async with deployed(orchestrator_of()) as stubs:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stubs.generation.Generate(generation_pb.GenerateRequest(turns=[turn])).read()

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_of(caught).reason is Reason.LIMIT_EXCEEDED
