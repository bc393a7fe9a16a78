"""The log lines of requests: one per call, generation and failure inside, with one id on all of them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from motet.client import Client
from motet.core.errors import FaultError, MediaError, NotFoundError, OverloadedError
from motet.core.logs.request_id import current_request_id
from motet.core.logs.tenant_hash import tenant_hash
from motet.core.media import Media
from motet.toys.workers import InjectedFault, ToyDecoder, ToyEncoder, ToyLanguageModel
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteWorker
from motet.transport.server import Server
from motet.transport.status import DETAILS_KEY
from motet.v1 import generation_service_pb2 as generation_pb
from motet.v1 import generation_service_pb2_grpc
from orchestrator.orchestrator import Orchestrator
from orchestrator.quota.limits import QuotaLimits
from orchestrator.settings import OrchestratorSettings
from services.orchestrator.pools import pooled_workers
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer
from tests.orchestrator.pipeline_harness import (
    DIGEST,
    MANIFEST,
    orchestrator_of,
    probe,
    request_of,
    script_of,
    signal_run,
)
from tests.orchestrator.pool_harness import LOST
from tests.services.orchestrator.hostile.deployment import target
from tests.transport.access.keys import KeyRing, bearer
from tests.transport.serving import served
from tests.waiting import until

SCRIPT = script_of("An a: ", signal_run("a"), ".")


class Lines(logging.Handler):
    """A handler that keeps the lines, as `LineWriter` would write them."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(vars(record) | {"event": record.getMessage(), "request_id": current_request_id()})

    def of(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Return the lines of an event with these fields."""
        return [
            line
            for line in self.records
            if line["event"] == event and all(line.get(name) == value for name, value in fields.items())
        ]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


@asynccontextmanager
async def deployment(
    *decoders: ToyDecoder, script: Sequence[Any] = SCRIPT, probe: Any = probe, **options: Any
) -> AsyncIterator[tuple[Client, str, Sequence[str]]]:
    """Serve workers and an orchestrator. Yield a client, the orchestrator's address and those of the decoders."""
    async with AsyncExitStack() as stack:
        model = ToyLanguageModel(MANIFEST.grammar, script)  # type: ignore[arg-type]
        worker, _ = await stack.enter_async_context(served(ToyEncoder(), model))
        replicas = [(await stack.enter_async_context(served(decoder)))[0].address for decoder in decoders]
        settings = OrchestratorSettings(
            encoder=worker.address, language_model=worker.address, decoders={"a": tuple(replicas)}, **options
        )
        workers = await pooled_workers(settings, MANIFEST, stack)
        motet = await stack.enter_async_context(Orchestrator(workers, MANIFEST, DIGEST, settings, probe))
        server = await stack.enter_async_context(
            Server([GenerationServicer(motet.for_caller), ArtifactServicer(motet.for_caller)])
        )
        await until(lambda: motet.availability.outputs["a"])
        client = await stack.enter_async_context(Client(server.address))
        yield client, server.address, replicas


async def test_a_generation_has_one_line_with_its_outcome_its_parts_and_the_replica_of_each(lines: Lines) -> None:
    async with deployment(ToyDecoder("a")) as (client, _, addresses):
        answer = await client.answer(request_of(tenant="acme"))
        await until(lambda: lines.of("a generation ended"))

    (line,) = lines.of("a generation ended")
    assert (line["outcome"], line["reason"]) == ("succeeded", "")
    assert line["tenant"] == tenant_hash("acme")
    assert line["generation"] == answer.generation.name
    assert line["seconds"] > 0
    text, media, rest = line["parts"]
    assert (text["modality"], text["outcome"]) == (rest["modality"], rest["outcome"]) == ("text", "done")
    assert text["replica"].startswith("llm at 127.0.0.1:")
    assert (media["modality"], media["outcome"]) == ("a", "done")
    assert media["replica"] == f"a at {addresses[0]}"
    assert media["seconds"] >= 0


async def test_every_line_of_a_request_has_the_callers_id_in_every_service(lines: Lines) -> None:
    request_id = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
    async with deployment(ToyDecoder("a")) as (client, _, _):
        await client.answer(request_of(request_id=request_id))
        await until(lambda: lines.of("a call ended", method="/motet.v1.GenerationService/Generate"))

    calls = {line["method"].rpartition("/")[2]: line["request_id"] for line in lines.of("a call ended")}
    assert {name: calls[name] for name in ("Generate", "Decode")} == {"Generate": request_id, "Decode": request_id}
    assert lines.of("a generation ended", request_id=request_id)


async def test_a_raw_call_without_an_id_gets_one_and_finds_it_in_the_error(lines: Lines) -> None:
    async with deployment(ToyDecoder("a")) as (_, address, _), open_channel(address) as channel:
        stub = generation_service_pb2_grpc.GenerationServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stub.GetGeneration(generation_pb.GetGenerationRequest(name=f"generations/{'0' * 32}"))
        await until(lambda: lines.of("a call ended", levelno=logging.INFO))

    trailers = dict(failure.value.trailing_metadata() or ())
    info = error_details_pb2.RequestInfo()
    status = status_pb2.Status.FromString(trailers[DETAILS_KEY])
    assert any(detail.Unpack(info) for detail in status.details)
    (line,) = lines.of("a call ended", levelno=logging.INFO)
    assert (line["request_id"], line["code"], line["reason"]) == (info.request_id, "NOT_FOUND", "GENERATION_NOT_FOUND")
    assert len(info.request_id) == 32


async def test_the_clients_error_has_the_id_that_is_on_the_lines(lines: Lines) -> None:
    async with deployment(ToyDecoder("a")) as (client, _, _):
        with pytest.raises(NotFoundError) as failure:
            await client.get(f"generations/{'0' * 32}")
        await until(lambda: lines.of("a call ended", levelno=logging.INFO))

    (line,) = lines.of("a call ended", levelno=logging.INFO)
    assert failure.value.request_id == line["request_id"] != ""


@pytest.mark.parametrize("given", ["a b", "a" * 129, "<script>", "../../etc/passwd", "%0aforged"])
async def test_an_id_that_is_not_plain_is_replaced(lines: Lines, given: str) -> None:
    async with deployment(ToyDecoder("a")) as (_, address, _), open_channel(address) as channel:
        stub = generation_service_pb2_grpc.GenerationServiceStub(channel)
        await stub.ListGenerations(generation_pb.ListGenerationsRequest(), metadata=(("x-request-id", given),))
        await until(lambda: lines.of("a call ended", levelno=logging.INFO))

    (line,) = lines.of("a call ended", levelno=logging.INFO)
    assert line["request_id"] not in ("", given)


async def test_a_failed_attempt_and_an_ejection_have_lines_with_the_requests_id(lines: Lines) -> None:
    lost = InjectedFault(LOST)
    async with deployment(ToyDecoder("a", fault=lost), ToyDecoder("a"), eject_after=1) as (client, _, addresses):
        for seed in range(4):
            await client.answer(request_of(seed=seed))

    failed = lines.of("a call failed at a replica", reason="WORKER_LOST")
    assert failed
    assert failed[0]["replica"] == f"a at {addresses[0]}"
    assert failed[0]["request_id"] in {line["request_id"] for line in lines.of("a generation ended")}
    assert lines.of("a replica was ejected after consecutive failures", replica=failed[0]["replica"])


async def test_a_part_that_failed_has_its_reason_on_the_line_of_the_generation(lines: Lines) -> None:
    broken = InjectedFault(FaultError("the weights are broken"))
    async with deployment(ToyDecoder("a", fault=broken)) as (client, _, _):
        await client.answer(request_of())
        await until(lambda: lines.of("a generation ended"))

    (line,) = lines.of("a generation ended")
    (failed,) = (part for part in line["parts"] if part["modality"] == "a")
    assert (failed["outcome"], failed["reason"]) == ("failed", "WORKER_FAULT")
    assert failed["seconds"] >= 0
    assert line["outcome"] == "partial"


async def test_a_broken_signal_has_a_line_with_its_part_and_reason(lines: Lines) -> None:
    script = script_of("An a: ", signal_run("a")[:2], "no.")
    async with deployment(ToyDecoder("a"), script=script) as (client, _, _):
        await client.answer(request_of())
        await until(lambda: lines.of("a generation ended"))

    (line,) = lines.of("a signal was refused", reason="SIGNAL_BROKEN")
    (ended,) = lines.of("a generation ended")
    assert line["part"] in {part["id"] for part in ended["parts"]}
    assert line["request_id"] == ended["request_id"] != ""


async def test_a_refused_medium_has_a_line_without_its_content(lines: Lines) -> None:
    async def refuse(media: Media, tenant: str = "") -> Any:
        raise MediaError("it cannot be decoded")

    data = b"velvet-canary-medium"
    async with deployment(ToyDecoder("a"), probe=refuse) as (client, _, _):
        with pytest.raises(MediaError) as failure:
            await client.answer(request_of(Media("x/a", data)))

    (line,) = lines.of("media were refused")
    assert (line["reason"], line["bytes"]) == (failure.value.reason, len(data))
    assert line["request_id"] == failure.value.request_id
    assert "velvet-canary" not in str(lines.records)


async def test_work_beyond_a_quota_has_a_line_with_the_quota_and_the_class(lines: Lines) -> None:
    classes = {"metered": QuotaLimits(generations_per_minute=1)}
    keys = KeyRing()
    key = keys.key_of("velvet-tenant", quota_class="metered")
    async with orchestrator_of(SCRIPT, {"a": ToyDecoder("a")}, quotas=lambda: classes) as motet:
        servicers = [GenerationServicer(motet.for_caller)]
        async with (
            Server(servicers, authentication=keys.authentication()) as server,
            Client(server.address, retries=0, metadata=dict(bearer(key))) as client,
        ):
            await client.answer(request_of())
            with pytest.raises(OverloadedError) as failure:
                await client.answer(request_of())

    (line,) = lines.of("work beyond a quota was refused")
    assert (line["quota"], line["quota_class"], line["limit"]) == ("generations_per_minute", "metered", 1)
    assert line["request_id"] == failure.value.request_id != ""


async def test_no_line_contains_the_prompt_the_text_or_the_media(lines: Lines) -> None:
    secret = "velvet-canary-prompt"
    async with deployment(ToyDecoder("a"), script=script_of("velvet-canary-text ", signal_run("a"))) as (client, _, _):
        answer = await client.answer(request_of(secret, tenant="velvet-canary-tenant"))
        await until(lambda: lines.of("a generation ended"))

    assert answer.text.startswith("velvet-canary-text")
    # asyncio's debug lines and gRPC's are not Motet's, but they reach the same handler.
    assert not [line for line in lines.records if "velvet-canary" in str(line)]


async def test_an_administrative_call_has_an_audit_line(lines: Lines) -> None:
    async with served(ToyDecoder("a")) as (_, channel):
        await RemoteWorker(channel).drain(0)

    (line,) = lines.of("an administrative call")
    assert (line["name"], line["method"]) == ("motet.audit", "/motet.internal.v1.WorkerService/Drain")


async def test_a_refused_administrative_call_has_an_audit_line_too(lines: Lines) -> None:
    keys = KeyRing()
    key = keys.key_of("acme", ["read"])
    async with served(ToyDecoder("a"), authentication=keys.authentication()) as (_, channel):
        drain = channel.unary_unary("/motet.internal.v1.WorkerService/Drain")
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await drain(b"", metadata=bearer(key))

    assert failure.value.code() is grpc.StatusCode.PERMISSION_DENIED
    (line,) = lines.of("an administrative call")
    assert line["credential"].startswith("key ")
    assert line["credential"].removeprefix("key ") in keys.records


async def test_the_line_of_a_call_has_the_hash_of_its_callers_tenant_and_not_the_name(lines: Lines) -> None:
    async with target() as deployment:
        assert await deployment.serves_others()
        await until(lambda: lines.of("a call ended"))

    (line,) = lines.of("a call ended")
    assert line["tenant"] == tenant_hash("other")
    # The hash is the same in every process.
    assert tenant_hash("other") == "f91ca917932c"
