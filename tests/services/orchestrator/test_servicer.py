"""The orchestrator on the wire: a real server on a free port, and workers in servers of their own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from hashlib import sha256

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from motet.core.errors import CancelledError, DeadlineError, FaultError, NotFoundError, Reason, RequestError
from motet.core.events import PartFailed, State
from motet.core.media import Media
from motet.core.request import ArtifactName
from motet.core.workers import Workers
from motet.toys.workers import Pause, ToyDecoder, ToyEncoder, ToyLanguageModel, Trouble
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
from tests.orchestrator.event_grammar import check_events
from tests.orchestrator.pipeline_harness import (
    MANIFEST,
    no_tasks_left,
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
from tests.transport.serving import served

SCRIPT = script_of("An a: ", signal_run("a"), " and b: ", signal_run("b"), " done")


class Wire:
    """What a caller does, by the bare stubs."""

    def __init__(self, channel):
        self.generation = generation_grpc.GenerationServiceStub(channel)
        self.artifact = artifact_grpc.ArtifactServiceStub(channel)
        self.model = model_grpc.ModelServiceStub(channel)

    async def generate(self, request, timeout=None):
        """The events, heartbeats left out; raises what the status says, with `heard` holding what came before."""
        self.heard = []
        async for response in self.generation.Generate(convert.request_to_proto(request), timeout=timeout):
            self.heard += [event for event in map(convert.event_from_proto, response.events) if event]
        return self.heard

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


@asynccontextmanager
async def wired(orchestrator, **seconds):
    servicers = [
        GenerationServicer(orchestrator, **seconds),
        ArtifactServicer(orchestrator),
        ModelServicer(orchestrator),
    ]
    async with Server(servicers) as server, open_channel(server.address) as channel:
        yield Wire(channel)


def error_of(caught):
    """What a status tells; it must carry exactly one `ErrorInfo` of ours."""
    error = caught.value
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    infos = [detail for detail in status.details if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert len(infos) == 1
    return error_from_rpc(error)


def bytes_of(events):
    return [(part.part_id, part.sha256) for part in record_of(events).parts]


async def test_an_answer_over_the_wire_is_what_it_is_in_process_also_with_workers_elsewhere():
    request = request_of("What?", Media("x/a", b"a thing"), seed=11, previews=True)
    embedded = await run_generation(orchestrator_of(SCRIPT), request)
    made = toy_decoders()
    model = ToyLanguageModel(MANIFEST.grammar, SCRIPT)
    async with (
        served(ToyEncoder()) as (_, encoder),
        served(model) as (_, language),
        served(made["a"]) as (_, a),
        served(made["b"]) as (_, b),
    ):
        remote = Workers(
            RemoteEncoder(encoder), RemoteLanguageModel(language), {"a": RemoteDecoder(a), "b": RemoteDecoder(b)}
        )
        orchestrator = orchestrator_of(workers=remote)
        assert bytes_of(await run_generation(orchestrator, request)) == bytes_of(embedded)
        async with wired(orchestrator) as wire:
            heard = await wire.generate(request)

    check_events(heard)
    assert bytes_of(heard) == bytes_of(embedded)
    assert record_of(heard).state is State.SUCCEEDED


async def test_a_partial_answer_ends_with_ok():
    broken = ToyDecoder("a", trouble=Trouble(FaultError("broken")))
    async with wired(orchestrator_of(SCRIPT, toy_decoders(a=broken))) as wire:
        heard = await wire.generate(request_of())

    check_events(heard)
    assert record_of(heard).state is State.PARTIAL
    assert payloads_of(heard, PartFailed)[0].error.message == "broken"


async def test_an_answer_of_which_nothing_came_ends_with_done_and_then_its_status():
    async with wired(orchestrator_of([FaultError("broken")])) as wire:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await wire.generate(request_of())

    check_events(wire.heard)
    assert error_of(caught).reason is Reason.WORKER_FAULT


async def test_a_request_that_cannot_be_served_fails_before_any_event():
    async with wired(orchestrator_of()) as wire:
        for request, kind in ((request_of(" "), RequestError), (request_of(model="huge"), NotFoundError)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await wire.generate(request)
            assert isinstance(error_of(caught), kind)
            assert wire.heard == []


async def test_the_end_is_told_before_the_calls_deadline_passes():
    async with wired(orchestrator_of(script_of("so far", Pause()))) as wire:
        heard = await wire.generate(request_of(), timeout=0.4)

    check_events(heard)
    assert record_of(heard).state is State.PARTIAL
    assert isinstance(record_of(heard).error, DeadlineError)


@pytest.mark.parametrize("point", [0, 1, 2, 3, 4, 8, 12])
async def test_hanging_up_at_any_point_stops_all_workers(point):
    model = ToyLanguageModel(MANIFEST.grammar, [*SCRIPT, Pause()], delay=0.001)
    made = toy_decoders(a=ToyDecoder("a", delay=0.01), b=ToyDecoder("b", delay=0.01))
    orchestrator = orchestrator_of(model, made)
    async with wired(orchestrator, min_interval=0) as wire:
        call = wire.generation.Generate(convert.request_to_proto(request_of()))
        heard = 0
        while heard < point:
            heard += len((await call.read()).events)
        call.cancel()
        async with asyncio.timeout(2):
            while not model.seen and point:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        await wait_idle(orchestrator)
        assert model.running + sum(decoder.running for decoder in made.values()) == 0


async def test_a_detached_generation_is_watched_after_hanging_up():
    async with wired(orchestrator_of(SCRIPT, toy_decoders(a=ToyDecoder("a", delay=0.01)))) as wire:
        call = wire.generation.Generate(convert.request_to_proto(request_of(detach=True)), timeout=0.5)
        (first, *_) = (await call.read()).events
        call.cancel()
        name = first.accepted.generation
        request = generation_pb.WatchGenerationRequest(name=name, after_sequence=1)
        rest = [convert.event_from_proto(e) async for r in wire.generation.WatchGeneration(request) for e in r.events]

    heard = [convert.event_from_proto(first), *rest]
    check_events(heard)
    assert record_of(heard).state is State.SUCCEEDED


async def test_cancelling_is_told_to_both_who_cancel_and_who_listen():
    orchestrator = orchestrator_of(script_of("x", Pause()))
    async with wired(orchestrator) as wire:
        listening = asyncio.create_task(wire.generate(request_of()))
        async with asyncio.timeout(2):
            while not (await wire.generation.ListGenerations(generation_pb.ListGenerationsRequest())).generations:
                await asyncio.sleep(0.005)
        (running,) = (await wire.generation.ListGenerations(generation_pb.ListGenerationsRequest())).generations
        request = generation_pb.CancelGenerationRequest(name=running.name)
        cancelled = (await wire.generation.CancelGeneration(request)).generation
        assert orchestrator.running == 0
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await listening
        known = await wire.generation.GetGeneration(generation_pb.GetGenerationRequest(name=running.name))

    assert running.state == event_pb2.Generation.STATE_RUNNING
    assert cancelled.state == known.generation.state == event_pb2.Generation.STATE_CANCELLED
    assert isinstance(error_of(caught), CancelledError)
    check_events(wire.heard)


async def test_a_silent_stream_says_that_it_is_alive():
    async with wired(orchestrator_of(script_of("x", Pause(0.1))), heartbeat=0.02) as wire:
        responses = [
            e async for r in wire.generation.Generate(convert.request_to_proto(request_of())) for e in r.events
        ]

    beats = [event for event in responses if event.WhichOneof("event") == "heartbeat"]
    assert len(beats) >= 2
    sequences = [event.sequence for event in responses]
    assert sequences == sorted(sequences)
    assert {beat.sequence for beat in beats} <= set(sequences)
    check_events([event for event in map(convert.event_from_proto, responses) if event])


async def test_what_happens_while_a_stream_rests_goes_on_together_and_the_end_waits_for_nothing():
    async with asyncio.timeout(20), wired(orchestrator_of(script_of("x", Pause(0.05), "y")), min_interval=60) as wire:
        (response,) = [response async for response in wire.generation.Generate(convert.request_to_proto(request_of()))]

    assert response.events[0].WhichOneof("event") == "accepted"
    assert response.events[-1].WhichOneof("event") == "done"


async def test_events_that_are_ready_at_the_same_moment_come_in_one_response():
    orchestrator = orchestrator_of(SCRIPT)
    async with wired(orchestrator) as wire:
        heard = await wire.generate(request_of())
        request = generation_pb.WatchGenerationRequest(name=heard[0].payload.generation)
        (replayed,) = [response async for response in wire.generation.WatchGeneration(request)]

    assert list(map(convert.event_from_proto, replayed.events)) == heard


async def test_no_response_outgrows_what_travels_well_however_much_is_ready():
    size = 2**20
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=ToyDecoder("a", size=size), b=ToyDecoder("b", size=size)))
    async with wired(orchestrator) as wire:
        heard = await wire.generate(request_of())
        request = generation_pb.WatchGenerationRequest(name=heard[0].payload.generation)
        sizes = [response.ByteSize() async for response in wire.generation.WatchGeneration(request)]

    check_events(heard)
    assert record_of(heard).state is State.SUCCEEDED
    assert sum(sizes) > 2 * size
    assert max(sizes) < 2**18 + 1000


async def test_nothing_is_left_behind_by_a_call():
    orchestrator = orchestrator_of(SCRIPT)
    async with wired(orchestrator) as wire:
        await wire.generate(request_of())
        async with no_tasks_left():
            await wire.generate(request_of())
            await wait_idle(orchestrator)
            await asyncio.sleep(0.01)


async def test_an_upload_is_used_in_a_prompt_downloaded_and_deleted():
    data = b"a" + bytes(600_000)
    async with wired(orchestrator_of(SCRIPT)) as wire:
        artifact = await wire.upload(data, "x/a", digest=sha256(data).digest())
        heard = await wire.generate(request_of("What?", ArtifactName(artifact.name)))
        request = artifact_pb.DownloadArtifactRequest(name=artifact.name, offset=5)
        chunks = [(r.offset, r.chunk) async for r in wire.artifact.DownloadArtifact(request)]
        await wire.artifact.DeleteArtifact(artifact_pb.DeleteArtifactRequest(name=artifact.name))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await wire.artifact.DownloadArtifact(request).read()

    assert record_of(heard).state is State.SUCCEEDED
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
async def test_an_upload_that_is_not_what_its_header_says_is_refused(options, reason):
    async with wired(orchestrator_of()) as wire:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await wire.upload(b"a thing", "x/a", **options)

    assert error_of(caught).reason is reason


async def test_what_a_deployment_can_do_is_told():
    async with wired(orchestrator_of()) as wire:
        (listed,) = (await wire.model.ListModels(model_pb.ListModelsRequest())).models
        named = (await wire.model.GetModel(model_pb.GetModelRequest(name="toy"))).model
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await wire.model.GetModel(model_pb.GetModelRequest(name="huge"))

    assert listed == named
    assert [output.modality for output in listed.outputs] == ["a", "b"]
    assert error_of(caught).reason is Reason.MODEL_NOT_FOUND


async def test_300_parts_are_refused_at_the_door():
    turn = media_pb2.Turn(role=media_pb2.Turn.ROLE_USER, parts=[media_pb2.InputPart(text="x")] * 300)
    async with wired(orchestrator_of()) as wire:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await wire.generation.Generate(generation_pb.GenerateRequest(turns=[turn])).read()

    assert error_of(caught).reason is Reason.INVALID_REQUEST
