"""Server reflection, as grpcurl and similar tools use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from motet.toys.workers import ToyDecoder, ToyEncoder
from motet.transport.access.authentication import ANYONE, Authentication
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.server import REFLECTION_SERVICES, Server
from services.capacity_servicer import CapacityServicer
from services.decoder.servicer import DecoderServicer
from services.encoder.servicer import EncoderServicer
from services.llm.servicer import LanguageModelServicer
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer, ModelServicer, QuotaServicer
from tests.orchestrator.pipeline_harness import orchestrator_of
from tests.transport.access.keys import KeyRing, bearer

HEALTH = "grpc.health.v1.Health"
V1ALPHA = REFLECTION_SERVICES[1]
WORKER = "motet.internal.v1.WorkerService"
PUBLIC = (GenerationServicer, ArtifactServicer, ModelServicer, QuotaServicer)
KINDS: dict[str, Callable[[], list[Any]]] = {
    "orchestrator": lambda: [servicer(orchestrator_of().for_caller) for servicer in PUBLIC],
    "encoder": lambda: [EncoderServicer(ToyEncoder()), CapacityServicer(ConcurrencyLimiter())],
    "llm": lambda: [LanguageModelServicer(orchestrator_of()), CapacityServicer(ConcurrencyLimiter())],
    "decoder": lambda: [DecoderServicer(ToyDecoder()), CapacityServicer(ConcurrencyLimiter())],
}


@asynccontextmanager
async def served(
    kind: str, reflection: bool = True, authentication: Authentication = ANYONE
) -> AsyncIterator[grpc.Channel]:
    """Yield a channel, for blocking calls, to a server of one kind of service."""
    async with Server(KINDS[kind](), reflection=reflection, authentication=authentication) as server:
        with grpc.insecure_channel(server.address) as channel:
            yield channel


class WithMetadata(grpc.StreamStreamClientInterceptor):  # type: ignore[misc]
    """Sends metadata with every call of a channel."""

    def __init__(self, metadata: Any) -> None:
        self._metadata = metadata

    def intercept_stream_stream(self, call: Any, details: Any, requests: Any) -> Any:
        return call(details._replace(metadata=self._metadata), requests)


def resolve(channel: grpc.Channel) -> tuple[set[str], set[str]]:
    """Return the names of all services, and of all messages that their methods use, by reflection alone."""
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = descriptor_pool.DescriptorPool(database)
    services = set(database.get_services())
    messages: set[str] = set()

    def visit(message: Descriptor) -> None:
        if message.full_name not in messages:
            messages.add(message.full_name)
            for field in message.fields:
                if field.message_type is not None:
                    visit(field.message_type)

    for service in services:
        for method in pool.FindServiceByName(service).methods:
            visit(method.input_type)
            visit(method.output_type)
    visit(pool.FindMessageTypeByName("google.rpc.ErrorInfo"))
    return services, messages


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_lists_the_services_and_resolves_every_message_with_its_imports(kind: str) -> None:
    async with served(kind) as channel:
        services, messages = await asyncio.to_thread(resolve, channel)

    assert services == {servicer.name for servicer in KINDS[kind]()} | {HEALTH, V1ALPHA}
    assert {"google.protobuf.Duration", "google.rpc.ErrorInfo"} <= messages
    assert len(messages) > 8


async def test_a_client_of_the_newer_protocol_gets_the_same_services() -> None:
    def list_services(channel: grpc.Channel, service: str) -> list[str]:
        call = channel.stream_stream(
            f"/{service}/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (response,) = call(iter([request]), timeout=20)
        return [service.name for service in response.list_services_response.service]

    async with served("orchestrator") as channel:
        lists = [await asyncio.to_thread(list_services, channel, service) for service in REFLECTION_SERVICES]

    assert lists[0] == lists[1] != []


def code_of(channel: grpc.Channel) -> grpc.StatusCode:
    """Return the status of a client's list of services."""
    try:
        ProtoReflectionDescriptorDatabase(channel).get_services()
    except grpc.RpcError as error:
        return error.code()  # type: ignore[no-any-return, attr-defined]
    return grpc.StatusCode.OK


@pytest.mark.parametrize("kind", KINDS)
async def test_without_the_option_there_is_no_reflection(kind: str) -> None:
    async with served(kind, reflection=False) as channel:
        assert await asyncio.to_thread(code_of, channel) is grpc.StatusCode.UNIMPLEMENTED


def channels(channel: grpc.Channel, keys: KeyRing) -> Iterator[grpc.Channel]:
    """Yield the channel without credentials, with a wrong key, and with a key of any role."""
    yield channel
    for key in ("motet_x", keys.key_of("acme")):
        yield grpc.intercept_channel(channel, WithMetadata(bearer(key)))


async def test_reflection_needs_credentials_where_callers_have_some() -> None:
    keys = KeyRing()
    async with served("orchestrator", authentication=keys.authentication()) as channel:
        codes = [await asyncio.to_thread(code_of, each) for each in channels(channel, keys)]

    assert codes == [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.OK]
