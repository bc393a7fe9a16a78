"""The orchestrator: `Motet` for all callers, over workers that may be anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Self

from motet.caching.decoder import CachingDecoder, MediaCache
from motet.caching.lru import IDLE_AFTER, max_entries_of
from motet.core.bundle import Manifest
from motet.core.caller import Caller
from motet.core.service import Model, Motet, Output
from motet.core.workers import Workers, is_available
from motet.media.decode import probe
from orchestrator.admission import Admission, Probe
from orchestrator.artifact_store import ArtifactStore
from orchestrator.availability import Availability, availability_of
from orchestrator.caller_motet import CallerMotet
from orchestrator.generation.admitted_request import AdmittedRequest
from orchestrator.generation.event_writer import EventWriter
from orchestrator.generation.metrics_observer import export_refusals
from orchestrator.generation.pipeline import Pipeline
from orchestrator.generation_store import GenerationStore
from orchestrator.quota.account import Account
from orchestrator.quota.accounts import Accounts
from orchestrator.quota.limits import QuotaClasses, no_quotas
from orchestrator.settings import OrchestratorSettings


class Orchestrator:
    """Runs the generations of all callers. `for_caller` is the only way to start them, and to read their results.

    Its workers may be objects in this process or clients of remote processes.
    `digest` identifies the weights, see `Bundle.digest`. `probe` detects the type of media. `quotas` returns
    the present limits of tenants by class; by default, nothing is limited. The orchestrator is a context manager;
    without one, call `aclose`.
    """

    def __init__(
        self,
        workers: Workers,
        manifest: Manifest,
        digest: str,
        settings: OrchestratorSettings | None = None,
        probe: Probe = probe,
        quotas: Callable[[], QuotaClasses] = no_quotas,
    ) -> None:
        self._settings = settings = settings or OrchestratorSettings()
        export_refusals()
        self._workers = _cached(workers, digest, settings)
        self._manifest = manifest
        self._digest = digest
        self._modalities = tuple(modality for modality in manifest.signals if modality in workers.decoders)
        self._accounts = Accounts(quotas)
        self._artifacts = ArtifactStore(settings.artifact_ttl, settings.max_artifact_bytes)
        self._admission = Admission(manifest, self._modalities, probe, settings)
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
    def availability(self) -> Availability:
        """The modalities that can be generated and read now."""
        return availability_of(self._workers, self._manifest, self._settings.wait_for_replicas)

    def interrupt(self) -> None:
        """Stop all generations. Each ends with `Done` and a retryable error, and keeps the parts that are complete."""
        self._generations.interrupt()

    async def aclose(self) -> None:
        """Stop all generations and wait until no worker works for them."""
        await self._generations.aclose()

    def for_caller(self, caller: Caller) -> Motet:
        """Return Motet as a caller sees it: its tenant's generations and artifacts, within its permissions."""
        artifacts = self._artifacts.of(caller.tenant)
        account = self._accounts.of(caller)
        return CallerMotet(caller, account, self._generations, artifacts, self._admission, self._describe)

    def _describe(self) -> Model:
        manifest, settings = self._manifest, self._settings
        tokens = manifest.language_model.max_tokens
        return Model(
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
            available=is_available(self._workers.language_model),
            input_available=is_available(self._workers.encoder),
        )

    def _output(self, modality: str) -> Output:
        entry = self._manifest.decoder_of(modality)
        return Output(
            modality,
            entry.media_type,
            entry.steps,
            entry.guidance,
            self._settings.max_parts_per_modality,
            is_available(self._workers.decoders[modality]),
            tuple(map(tuple, self._manifest.signals[modality].takes)),
        )

    def _create_pipeline(
        self, tenant: str, request: AdmittedRequest, writer: EventWriter, account: Account
    ) -> Pipeline:
        return Pipeline(
            request,
            writer,
            workers=self._workers,
            manifest=self._manifest,
            digest=self._digest,
            artifacts=self._artifacts.of(tenant),
            account=account,
            settings=self._settings,
        )


def _cached(workers: Workers, digest: str, settings: OrchestratorSettings) -> Workers:
    """Return the workers with a media cache in front of each decoder pool, so that all replicas share the cache."""
    if not settings.media_cache_bytes:
        return workers
    finished = MediaCache(settings.media_cache_bytes, max_entries_of(settings.media_cache_bytes), IDLE_AFTER)
    decoders = {name: CachingDecoder(decoder, digest, finished) for name, decoder in workers.decoders.items()}
    return replace(workers, decoders=decoders)
