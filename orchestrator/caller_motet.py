"""The orchestrator as one caller sees it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace

from motet.core.caller import Caller
from motet.core.errors import RequestError
from motet.core.events import Accepted, Artifact, Event, Generation
from motet.core.logs.request_id import checked_request_id, current_request_id, request_id_set
from motet.core.media import Media
from motet.core.request import GenerationRequest
from motet.core.service import Model, Quota
from motet.core.tracing.span import in_a_trace, spanning
from orchestrator.admission import Admission
from orchestrator.artifact_store import TenantArtifacts
from orchestrator.generation.metrics_observer import refusals_counted
from orchestrator.generation.spans import fetching
from orchestrator.generation_store import GenerationStore
from orchestrator.permissions import permitted_models, permitted_request
from orchestrator.quota.account import Account

_REQUEST, _ADMISSION = "generate", "admission"
"""The names of the spans of a request without a caller's call, and of a request's admission."""


class CallerMotet:
    """A `motet.core.service.Motet` with the generations and artifacts of the caller's tenant, and no others.

    `account` counts what the tenant uses. `describe` returns the description of the model that the orchestrator serves.
    """

    def __init__(
        self,
        caller: Caller,
        account: Account,
        generations: GenerationStore,
        artifacts: TenantArtifacts,
        admission: Admission,
        describe: Callable[[], Model],
    ) -> None:
        self._caller = caller
        self._account = account
        self._generations = generations
        self._artifacts = artifacts
        self._admission = admission
        self._describe = describe

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Implement `Motet.generate`.

        A request whose id was used before follows the earlier generation, unless that generation failed. Raises
        `AccessError` for a model or a modality that the caller may not use.
        """
        return in_a_trace(_REQUEST, self._generate(request))

    async def _generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        owner = self._caller.tenant
        with refusals_counted():
            request = permitted_request(request, self._caller, self._admission.model, self._admission.outputs)
        with request_id_set(request.request_id or checked_request_id(current_request_id())), refusals_counted():
            task = self._generations.find_request(owner, request)
            if task is None:
                self._account.check_generation()
                with self._generations.place(request.tenant), spanning(_ADMISSION):
                    admitted = await self._admission.admit(request, self._artifacts)
                # An equal request may have started during the admission.
                task = self._generations.find_request(owner, request)
            deduplicated = task is not None
            if task is None:
                # Other requests may have started during the admission, too.
                self._account.check_generation()
                if admitted.attachments:
                    self._account.check_encoding()
                if size := admitted.unstored_bytes:
                    self._account.check_bytes(self._artifacts.size_bytes, size)
                task = self._generations.start(owner, request, admitted, self._account)
        async with task.subscribed(), aclosing(task.log.follow()) as events:
            async for event in events:
                yield _deduplicated(event) if deduplicated else event

    async def watch(self, name: str, after_sequence: int = 0) -> AsyncGenerator[Event, None]:
        """Yield a generation's events after a sequence number, up to its end."""
        task = self._generations.find(self._caller.tenant, name)
        log = task.log
        if not 0 <= after_sequence <= len(log):
            raise RequestError(
                f"{name} has {len(log)} events so far: watch from 0 to {len(log)}, not after {after_sequence}",
                metadata={"last_sequence": str(len(log))},
            )
        with fetching(self._admission.model, name, task.span):
            async with aclosing(log.follow(after_sequence)) as events:
                async for event in events:
                    yield event

    async def get(self, name: str) -> Generation:
        """Return the record of a generation."""
        return self._generations.find(self._caller.tenant, name).record

    async def generations(self, page_size: int = 0, page_token: str = "") -> tuple[list[Generation], str]:
        """Return a page of records, newest first, and the token of the next page, or "" after the last page."""
        return self._generations.page(self._caller.tenant, page_size, page_token)

    async def cancel(self, name: str) -> Generation:
        """Cancel a generation and wait until no worker works for it."""
        return await self._generations.cancel(self._caller.tenant, name)

    async def upload(self, media: Media) -> Artifact:
        """Store media for use in prompts."""

        def check() -> None:
            self._account.check_bytes(self._artifacts.size_bytes, len(media.data))

        check()
        admitted = await self._admission.admit_upload(media, self._caller.tenant)
        artifact, _ = await self._artifacts.keep(admitted.modality, admitted.media, check)
        return artifact

    def download(self, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        """Yield the bytes of an artifact from an offset, in chunks of at most 256 KiB."""
        return self._artifacts.download(name, offset)

    async def delete(self, name: str) -> None:
        """Remove an artifact, if it exists."""
        self._artifacts.delete(name)

    async def models(self) -> list[Model]:
        """Return the model that is served, unless the caller may not use it."""
        return permitted_models([self._describe()], self._caller)

    async def quotas(self) -> list[Quota]:
        """Return the quotas of the caller's tenant that have a limit."""
        return self._account.quotas(self._artifacts.size_bytes)


def _deduplicated(event: Event) -> Event:
    if isinstance(event.payload, Accepted):
        return replace(event, payload=replace(event.payload, deduplicated=True))
    return event
