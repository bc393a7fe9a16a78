"""A worker's replica in Ray Serve, and the application of its replicas."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any

from motet.media.confinement.dumpable import forbid_dumps
from motet.transport.client_call import Metadata
from motet.transport.ray.cluster import DEPLOYMENT
from motet.transport.ray.failure import Failure
from motet.transport.ray.served_methods import ServedMethods
from services.logs.lines import configure_logs
from services.ray.settings import RayWorker
from services.serve import Service, set_niceness
from services.tracing.tracing import traced

if TYPE_CHECKING:
    from ray.serve import Application


class WorkerReplica:
    """A replica of one worker. It runs the servicers of `motet serve` without their server."""

    async def __init__(self, kind: str, options: Mapping[str, Any]) -> None:  # type: ignore[misc]
        """Load the worker, which takes seconds. The replica ends with its process, so nothing is closed."""
        service = service_of(kind)(dict(options))
        configure_logs(service.settings.log_level, service.name)
        set_niceness(service.settings)
        if not service.settings.allow_debuggers:
            forbid_dumps()
        self._stack = AsyncExitStack()
        await self._stack.enter_async_context(traced(service.settings, service.kind.value))
        ready = await self._stack.enter_async_context(service.open())
        self._methods = ServedMethods(ready.servicers, service.limiter)

    async def call(
        self, method: str, requests: list[bytes], seconds: float | None, metadata: Metadata
    ) -> AsyncGenerator[bytes | Failure, None]:
        """Yield the responses of a call, see `ServedMethods.call`."""
        async with aclosing(self._methods.call(method, requests, seconds, metadata)) as responses:
            async for response in responses:
                yield response


def build(args: RayWorker | dict[str, Any]) -> Application:
    """Return the application of a worker's replicas. Ray's configuration files name this function as `import_path`.

    Ray passes the arguments of a file as a dictionary. Raises pydantic's `ValidationError` for arguments that
    `RayWorker` does not accept.
    """
    from ray import serve

    worker = RayWorker.model_validate(args)
    deployment: Any = serve.deployment(WorkerReplica, name=DEPLOYMENT, **worker.deployment_options())
    application: Application = deployment.bind(worker.kind, worker.service_options())
    return application


def service_of(kind: str) -> Callable[[dict[str, Any]], Service]:
    """Return the function that makes the service of a kind of worker from its options."""
    from services.decoder.service import decoder_service
    from services.encoder.service import encoder_service
    from services.llm.service import language_model_service

    return {"encoder": encoder_service, "llm": language_model_service, "decoder": decoder_service}[kind]
