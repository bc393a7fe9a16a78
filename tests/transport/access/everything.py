"""A server of all services, for tests that call every method with every kind of credentials."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from motet.core.errors import Reason
from motet.core.telemetry.families.call_metrics import CALLS_REFUSED
from motet.internal.externalscaler import externalscaler_pb2
from motet.internal.v1 import (
    decoder_service_pb2,
    encoder_service_pb2,
    language_model_service_pb2,
    worker_service_pb2,
)
from motet.toys.workers import ToyDecoder, ToyEncoder
from motet.transport.access.authorization import ROLES
from motet.transport.access.json_web_tokens import JsonWebTokens, TokenRules
from motet.transport.channel import open_channel
from motet.transport.client_call import _PeerStatus
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.server import Server
from motet.transport.status import error_from_rpc
from motet.v1 import artifact_service_pb2, generation_service_pb2, model_service_pb2, quota_service_pb2
from orchestrator.quota.limits import QuotaLimits
from services.capacity_servicer import CapacityServicer
from services.decoder.servicer import DecoderServicer
from services.encoder.servicer import EncoderServicer
from services.llm.servicer import LanguageModelServicer
from services.orchestrator.scaler.servicer import ScalerServicer
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer, ModelServicer, QuotaServicer
from tests.orchestrator.pipeline_harness import orchestrator_of, script_of
from tests.transport.access.keys import KeyRing
from tests.transport.access.provider import AUDIENCE, ISSUER, Provider, ProviderKeys
from tests.waiting import until

GARBAGE = b"\xff\xff\xff"
"""Bytes that are no message. A server that parses them answers INVALID_ARGUMENT."""

MODULES = (
    generation_service_pb2,
    artifact_service_pb2,
    model_service_pb2,
    quota_service_pb2,
    encoder_service_pb2,
    language_model_service_pb2,
    decoder_service_pb2,
    worker_service_pb2,
    externalscaler_pb2,
)
METHODS = {
    f"/{service.full_name}/{method.name}": method
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
REFLECTION = [method for method in ROLES if "Reflection" in method]
EVERY_METHOD = [*METHODS, *REFLECTION]

_QUOTAS = {"default": QuotaLimits(generations_per_minute=100, tokens_per_minute=1e6, artifact_bytes=2**20)}


class Everything:
    """A server of all services, and channels to it."""

    def __init__(
        self,
        server: Server,
        channel: grpc.aio.Channel,
        keys: KeyRing,
        limiter: ConcurrencyLimiter,
        provider: Provider,
    ) -> None:
        self.server = server
        self.channel = channel
        self.keys = keys
        self.limiter = limiter
        self.provider = provider

    async def call(
        self, path: str, metadata: Any = (), data: bytes = GARBAGE, channel: grpc.aio.Channel | None = None
    ) -> Reason | str:
        """Return the reason of a call's error, or the name of its status."""
        return (await self.answer(path, metadata, data, channel))[0]

    async def answer(
        self, path: str, metadata: Any = (), data: bytes = GARBAGE, channel: grpc.aio.Channel | None = None
    ) -> tuple[Reason | str, list[bytes], str]:
        """Return the reason of a call's error, or the name of its status, the responses, and the error's message.

        The call of a stream of requests ends after its first response.
        """
        method, channel = METHODS.get(path), channel or self.channel
        streams = (method.client_streaming, method.server_streaming) if method else (True, True)
        create = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            (True, False): channel.stream_unary,
            (True, True): channel.stream_stream,
        }[streams]
        call = create(path)(iter([data]) if streams[0] else data, metadata=metadata, timeout=20)
        responses, status = [], _PeerStatus(call)
        try:
            if streams[1]:
                async for response in call:
                    responses.append(response)
                    if streams[0] or path.endswith("WatchCapacity"):
                        call.cancel()
                        break
            else:
                responses.append(await call)
        except grpc.aio.AioRpcError as failure:
            error = await status.instead_of(failure)
            known = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
            return (error_from_rpc(error).reason if known else error.code().name), responses, error.details() or ""
        return "OK", responses, ""

    @asynccontextmanager
    async def counted(self) -> AsyncIterator[Counter[str]]:
        """Count the calls of our functions that the handlers of calls make."""
        counts: Counter[str] = Counter()
        running, turn = self.server._interceptor._running, self.server._interceptor._turns._turn

        def record(frame: Any, event: str, argument: Any) -> None:
            module = str(frame.f_globals.get("__name__"))
            if event != "call" or not module.startswith(("motet.", "orchestrator.", "services.")):
                return
            if asyncio.current_task() in running:
                counts[f"{module}.{frame.f_code.co_qualname}"] += 1

        # A client may have its response before the handler has ended. A call that must wait for its turn runs more
        # functions, so the last call's turn has to be over.
        await until(lambda: not running and turn._free)
        sys.setprofile(record)
        try:
            yield counts
            await until(lambda: not running)
        finally:
            sys.setprofile(None)


@asynccontextmanager
async def everything(
    *, draining: bool = True, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[Everything]:
    """Serve all services. If `draining`, a call that the limiter counts or admits ends as DRAINING."""
    keys, limiter = KeyRing(), ConcurrencyLimiter(8, 8)
    if draining:
        limiter.close()
    async with AsyncExitStack() as stack:
        orchestrator = await stack.enter_async_context(orchestrator_of(script_of("Hello."), quotas=lambda: _QUOTAS))
        kinds = (GenerationServicer, ArtifactServicer, ModelServicer, QuotaServicer)
        public = [servicer(orchestrator.for_caller) for servicer in kinds]
        workers = [EncoderServicer(ToyEncoder()), LanguageModelServicer(orchestrator), DecoderServicer(ToyDecoder())]
        servicers: list[Any] = [*public, *workers, CapacityServicer(limiter), ScalerServicer({})]
        provider = Provider()
        tokens = JsonWebTokens(TokenRules(ISSUER, AUDIENCE), ProviderKeys(provider))
        server = Server(
            servicers,
            limiter=limiter,
            reflection=True,
            authentication=keys.authentication(tokens),
            credentials=credentials,
        )
        await stack.enter_async_context(server)
        channel = await stack.enter_async_context(open_channel(server.address, retries=False))
        yield Everything(server, channel, keys, limiter, provider)


def refusals() -> float:
    """Return the number of calls that any limiter refused."""
    return sum(sample.value for metric in CALLS_REFUSED.collect() for sample in metric.samples)
