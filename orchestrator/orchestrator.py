"""Motet itself: all that a caller may ask, over workers that may be anywhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Self

from motet.caching.decoder import CachingDecoder, Finished
from motet.core.bundle import Manifest
from motet.core.errors import RequestError
from motet.core.events import Accepted, Artifact, Event, Generation
from motet.core.media import Media
from motet.core.request import GenerationRequest
from motet.core.service import Model, Output
from motet.core.workers import Workers
from motet.media.decode import probe
from orchestrator.admission import Admission, Probe
from orchestrator.artifact_store import ArtifactStore
from orchestrator.generation.admitted_request import AdmittedRequest
from orchestrator.generation.event_writer import EventWriter
from orchestrator.generation.pipeline import Pipeline
from orchestrator.generation_store import GenerationStore
from orchestrator.settings import OrchestratorSettings


class Orchestrator:
    """A `motet.core.service.Motet`. It cannot tell whether its workers are objects here or processes elsewhere.

    `digest` names the weights, as `Bundle.digest` does; `probe` finds out what media are. Use it as a context, or call
    `aclose`.
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
        self._workers = _reusing(workers, digest, settings)
        self._manifest = manifest
        self._digest = digest
        self._makes = tuple(modality for modality in manifest.signals if modality in workers.decoders)
        self._artifacts = ArtifactStore(settings.artifact_ttl, settings.max_artifact_bytes)
        self._admission = Admission(manifest, self._makes, self._artifacts, probe, settings)
        self._generations = GenerationStore(self._compose, self._makes, settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    @property
    def running(self) -> int:
        """How many generations hold workers."""
        return self._generations.running

    async def aclose(self) -> None:
        """Stop all generations; returns once no worker holds any work."""
        await self._generations.aclose()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Answer a request, as `Motet.generate` promises.

        A request whose id was used before follows the earlier generation, unless nothing came of that one.
        """
        performance = self._generations.same_as(request)
        if performance is None:
            self._generations.check_room()
            order = await self._admission.admit(request)
            performance = self._generations.same_as(request)  # an equal request may have been faster
        known = performance is not None
        if performance is None:
            performance = self._generations.start(request, order)
        async with aclosing(performance.attend()) as events:
            async for event in events:
                yield _deduplicated(event) if known else event

    async def watch(self, name: str, after_sequence: int = 0) -> AsyncGenerator[Event, None]:
        """Replay a generation's events after a sequence and follow it to its end."""
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
        """The record of a generation."""
        return self._generations.find(name).record

    async def generations(self, page_size: int = 0, page_token: str = "") -> tuple[list[Generation], str]:
        """A page of generations, newest first, and the token of the next page, "" for none."""
        return self._generations.page(page_size, page_token)

    async def cancel(self, name: str) -> Generation:
        """Stop a generation; returns once no worker holds work for it."""
        return await self._generations.cancel(name)

    async def upload(self, media: Media) -> Artifact:
        """Keep media for use in a prompt."""
        found = await self._admission.recognise(media)
        artifact, _ = await self._artifacts.keep(found.modality, found.media)
        return artifact

    def download(self, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes of an artifact from an offset, in chunks of at most 256 KiB."""
        return self._artifacts.download(name, offset)

    async def delete(self, name: str) -> None:
        """Forget an artifact, if it is there."""
        self._artifacts.delete(name)

    async def models(self) -> list[Model]:
        """The one model that is served."""
        manifest, settings = self._manifest, self._settings
        tokens = manifest.language_model.max_tokens
        model = Model(
            name=manifest.name,
            description=manifest.description,
            licence=manifest.licence,
            digest=self._digest,
            input_modalities=tuple(manifest.encoder.modalities),
            outputs=tuple(self._output(modality) for modality in self._makes),
            max_output_tokens=min(tokens, settings.max_output_tokens or tokens),
            max_duration=settings.max_duration,
            max_media_bytes=settings.max_media_bytes,
            max_input_media=settings.max_input_media,
        )
        return [model]

    def _output(self, modality: str) -> Output:
        entry = self._manifest.decoder_of(modality)
        return Output(modality, entry.media_type, entry.steps, entry.guidance, self._settings.max_parts_each)

    def _compose(self, order: AdmittedRequest, answer: EventWriter) -> Pipeline:
        return Pipeline(
            order,
            answer,
            workers=self._workers,
            manifest=self._manifest,
            digest=self._digest,
            artifacts=self._artifacts,
            settings=self._settings,
        )


def _reusing(workers: Workers, digest: str, settings: OrchestratorSettings) -> Workers:
    """The workers, so that equal media are made once. In front of all replicas, what one has made serves for all."""
    if not settings.reuse_bytes:
        return workers
    finished = Finished(settings.reuse_bytes)
    decoders = {name: CachingDecoder(decoder, digest, finished) for name, decoder in workers.decoders.items()}
    return replace(workers, decoders=decoders)


def _deduplicated(event: Event) -> Event:
    if isinstance(event.payload, Accepted):
        return replace(event, payload=replace(event.payload, deduplicated=True))
    return event
