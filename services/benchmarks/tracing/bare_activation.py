"""A wake-up by bare gRPC in a process of its own: a request arrives, and a stream gets that a pool is active.

    python -m services.benchmarks.tracing.bare_activation CONFIG

The process has the methods `Generate` of the orchestrator and `StreamIsActive` of KEDA's external scaler, with their
messages, and nothing else. A pool is active while a request is open.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import grpc
import grpc.aio

from motet.internal.externalscaler import externalscaler_pb2 as scaler_pb
from motet.internal.v1 import language_model_service_pb2_grpc
from motet.transport.channel import open_channel
from motet.transport.server import freeze_garbage_collector
from motet.v1 import generation_service_pb2 as pb
from services.benchmarks.tracing.bare_stubs import BareStubs
from services.parent_watch import exit_with_parent
from services.ready_line import ReadyLine


@dataclass(frozen=True, slots=True)
class BareActivationConfig:
    """The address of the scaler, and a pool.

    With `modality`, the pool is its decoder's: it is active from the first signal of the language model at the address
    `language_model`. Otherwise it is the language model's, and active at once.
    """

    scaler: str
    language_model: str = ""
    modality: str = ""
    max_tokens: int = 64

    def as_argument(self) -> str:
        """Return the configuration as one argument of the command line."""
        return json.dumps(asdict(self))


class BareActivation:
    """Serves requests, and the state of one pool."""

    def __init__(self, model: BareStubs | None) -> None:
        self._model = model
        self._open = 0
        self._changed = asyncio.Condition()

    def handlers(self) -> Sequence[grpc.GenericRpcHandler]:
        """Return the handlers of both methods."""
        generate = grpc.unary_stream_rpc_method_handler(
            self.generate, pb.GenerateRequest.FromString, pb.GenerateResponse.SerializeToString
        )
        stream = grpc.unary_stream_rpc_method_handler(
            self.stream_is_active, scaler_pb.ScaledObjectRef.FromString, scaler_pb.IsActiveResponse.SerializeToString
        )
        generation = pb.DESCRIPTOR.services_by_name["GenerationService"].full_name
        scaler = scaler_pb.DESCRIPTOR.services_by_name["ExternalScaler"].full_name
        return (
            grpc.method_handlers_generic_handler(generation, {"Generate": generate}),
            grpc.method_handlers_generic_handler(scaler, {"StreamIsActive": stream}),
        )

    async def generate(self, request: pb.GenerateRequest, context: Any) -> AsyncGenerator[pb.GenerateResponse, None]:
        """Make the pool active until the call ends."""
        yield pb.GenerateResponse()
        if self._model is not None:
            await anext(self._model.stream_jobs(request.turns[-1].parts[0].text, request.seed))
        await self._count(1)
        try:
            await asyncio.Event().wait()
        finally:
            await self._count(-1)

    async def stream_is_active(
        self, request: scaler_pb.ScaledObjectRef, context: Any
    ) -> AsyncGenerator[scaler_pb.IsActiveResponse, None]:
        """Yield the state of the pool at once and after each change."""
        active: bool | None = None
        while True:
            async with self._changed:
                while bool(self._open) is active:
                    await self._changed.wait()
                active = bool(self._open)
            yield scaler_pb.IsActiveResponse(result=active)

    async def _count(self, change: int) -> None:
        async with self._changed:
            self._open += change
            self._changed.notify_all()


@asynccontextmanager
async def bare_activation(config: BareActivationConfig) -> AsyncIterator[str]:
    """Serve until the context ends. Yield the address for requests."""
    async with AsyncExitStack() as stack:
        model = None
        if config.modality:
            channel = await stack.enter_async_context(open_channel(config.language_model, health="", retries=False))
            stub = language_model_service_pb2_grpc.LanguageModelServiceStub(channel)
            model = BareStubs(stub, {config.modality: None}, config.max_tokens, {})
        server = grpc.aio.server()
        servicer = BareActivation(model)
        server.add_generic_rpc_handlers(servicer.handlers())
        port = server.add_insecure_port("127.0.0.1:0")
        server.add_insecure_port(config.scaler)
        await server.start()
        stack.push_async_callback(server.stop, None)
        yield f"127.0.0.1:{port}"


async def _serve(config: BareActivationConfig) -> None:
    async with bare_activation(config) as address:
        freeze_garbage_collector()
        print(ReadyLine("bare activation", address, "none"), flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve with the configuration of the command line until the parent process exits."""
    config = BareActivationConfig(**json.loads(sys.argv[1]))
    if "--exit-with-parent" in sys.argv:
        exit_with_parent()
    asyncio.run(_serve(config))


if __name__ == "__main__":
    main()
