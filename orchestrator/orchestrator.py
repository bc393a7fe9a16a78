"""The implementation of `Motet` over workers that may be anywhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Self

from motet.caching.decoder import CachingDecoder, MediaCache
from motet.caching.lru import max_entries_of
from motet.core.bundle import Manifest
from motet.core.errors import RequestError
from motet.core.events import TEXT, Accepted, Artifact, Event, Generation
from motet.core.media import Media
from motet.core.request import GenerationRequest
from motet.core.service import Model, Output
from motet.core.workers import Workers, is_available
from motet.media.decode import probe
from orchestrator.admission import Admission, Probe
from orchestrator.artifact_store import ArtifactStore
from orchestrator.generation.admitted_request import AdmittedRequest
from orchestrator.generation.event_writer import EventWriter
from orchestrator.generation.pipeline import Pipeline
from orchestrator.generation_store import GenerationStore
from orchestrator.settings import OrchestratorSettings


class Orchestrator:
    """A `motet.core.service.Motet`. Its workers may be objects in this process or clients of remote processes.

    `digest` identifies the weights, see `Bundle.digest`. `probe` detects the type of media. The orchestrator is a
    context manager; without one, call `aclose`.
    """

    def __init__(
        self,
        workers: Workers,
        manifest: Manifest,
        digest: str,
        settings: OrchestratorSettings | None = None,
        probe: Probe = probe,
    ) -> None:
        self._settings = settings = settings or OrchestratorSettings()
        self._workers = _cached(workers, digest, settings)
        self._manifest = manifest
        self._digest = digest
        self._modalities = tuple(modality for modality in manifest.signals if modality in workers.decoders)
        self._artifacts = ArtifactStore(settings.artifact_ttl, settings.max_artifact_bytes)
        self._admission = Admission(manifest, self._modalities, self._artifacts, probe, settings)
        self._generations = GenerationStore(self._create_pipeline, self._modalities, settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    @property
    def running(self) -> int:
        """Number of generations that workers may still work for."""
        return self._generations.running

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that have a decoder."""
        return self._modalities

    def available(self, modality: str) -> bool:
        """Return whether a worker that makes this modality, which may be `TEXT`, can be reached."""
        workers = self._workers
        return is_available(workers.language_model if modality == TEXT else workers.decoders[modality])

    def interrupt(self) -> None:
        """Stop all generations. Each ends with `Done` and a retryable error, and keeps the parts that are complete."""
        self._generations.interrupt()

    async def aclose(self) -> None:
        """Stop all generations and wait until no worker works for them."""
        await self._generations.aclose()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Implement `Motet.generate`.

        A request whose id was used before follows the earlier generation, unless that generation failed.
        """
        task = self._generations.find_request(request)
        if task is None:
            self._generations.check_capacity(request.tenant)
            admitted = await self._admission.admit(request)
            task = self._generations.find_request(request)  # an equal request may have started during the admission
        deduplicated = task is not None
        if task is None:
            task = self._generations.start(request, admitted)
        async with task.subscribed(), aclosing(task.log.follow()) as events:
            async for event in events:
                yield _deduplicated(event) if deduplicated else event

    async def watch(self, name: str, after_sequence: int = 0) -> AsyncGenerator[Event, None]:
        """Yield a generation's events after a sequence number, up to its end."""
        log = self._generations.find(name).log
        if not 0 <= after_sequence <= len(log):
            raise RequestError(
                f"{name} has {len(log)} events so far: watch from 0 to {len(log)}, not after {after_sequence}",
                metadata={"last_sequence": str(len(log))},
            )
        async with aclosing(log.follow(after_sequence)) as events:
            async for event in events:
                yield event

    async def get(self, name: str) -> Generation:
        """Return the record of a generation."""
        return self._generations.find(name).record

    async def generations(self, page_size: int = 0, page_token: str = "") -> tuple[list[Generation], str]:
        """Return a page of records, newest first, and the token of the next page, or "" after the last page."""
        return self._generations.page(page_size, page_token)

    async def cancel(self, name: str) -> Generation:
        """Cancel a generation and wait until no worker works for it."""
        return await self._generations.cancel(name)

    async def upload(self, media: Media) -> Artifact:
        """Store media for use in prompts."""
        admitted = await self._admission.admit_upload(media)
        artifact, _ = await self._artifacts.keep(admitted.modality, admitted.media)
        return artifact

    def download(self, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        """Yield the bytes of an artifact from an offset, in chunks of at most 256 KiB."""
        return self._artifacts.download(name, offset)

    async def delete(self, name: str) -> None:
        """Remove an artifact, if it exists."""
        self._artifacts.delete(name)

    async def models(self) -> list[Model]:
        """Return the one model that is served."""
        manifest, settings = self._manifest, self._settings
        tokens = manifest.language_model.max_tokens
        model = Model(
            name=manifest.name,
            description=manifest.description,
            licence=manifest.licence,
            digest=self._digest,
            input_modalities=tuple(manifest.encoder.modalities),
            outputs=tuple(self._output(modality) for modality in self._modalities),
            max_output_tokens=min(tokens, settings.max_output_tokens or tokens),
            max_duration=settings.max_duration,
            max_media_bytes=settings.max_media_bytes,
            max_input_media=settings.max_input_media,
            available=self.available(TEXT),
            input_available=is_available(self._workers.encoder),
        )
        return [model]

    def _output(self, modality: str) -> Output:
        entry = self._manifest.decoder_of(modality)
        return Output(
            modality,
            entry.media_type,
            entry.steps,
            entry.guidance,
            self._settings.max_parts_per_modality,
            self.available(modality),
        )

    def _create_pipeline(self, request: AdmittedRequest, writer: EventWriter) -> Pipeline:
        return Pipeline(
            request,
            writer,
            workers=self._workers,
            manifest=self._manifest,
            digest=self._digest,
            artifacts=self._artifacts,
            settings=self._settings,
        )


def _cached(workers: Workers, digest: str, settings: OrchestratorSettings) -> Workers:
    """Return the workers with a media cache in front of each decoder pool, so that all replicas share the cache."""
    if not settings.media_cache_bytes:
        return workers
    finished = MediaCache(settings.media_cache_bytes, max_entries_of(settings.media_cache_bytes))
    decoders = {name: CachingDecoder(decoder, digest, finished) for name, decoder in workers.decoders.items()}
    return replace(workers, decoders=decoders)


def _deduplicated(event: Event) -> Event:
    if isinstance(event.payload, Accepted):
        return replace(event, payload=replace(event.payload, deduplicated=True))
    return event
