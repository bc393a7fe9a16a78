"""Motet in this process: the orchestrator and all workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from motet.core.caller import ANONYMOUS
from motet.core.service import Motet
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.workers import Decoder, Encoder, LanguageModel, Workers
from motet.media.decode import probe
from orchestrator.orchestrator import Orchestrator
from orchestrator.pool.member import Member
from orchestrator.pool.pool import Pool
from orchestrator.pool.workers import PooledDecoder, PooledEncoder, PooledLanguageModel
from orchestrator.settings import OrchestratorSettings
from services.factory import Factory
from services.lazy import (
    ENCODER,
    LANGUAGE_MODEL,
    LazyDecoder,
    LazyEncoder,
    LazyLanguageModel,
    LazyWorker,
    decoder_name,
)
from services.settings import settings_of
from services.tracing.settings import TracingSettings
from services.tracing.tracing import traced

Worker = TypeVar("Worker")

_SERVICE = "embedded"
"""The name of this process in traces."""


@asynccontextmanager
async def embedded(factory: Factory, preload: Sequence[str] = ()) -> AsyncIterator[Motet]:
    """Yield an orchestrator over workers of this process. Each worker is loaded when first needed.

    Raises `SettingsError` for a wrong setting in the environment.

    The first media load the encoder. The first token of a signal loads the decoder of its modality. A prompt loads no
    worker that it does not use, and the text does not wait for decoders. Each worker is behind a pool of one replica,
    so its calls are retried like those of remote workers. `preload` names workers, `ENCODER` or `LANGUAGE_MODEL`, that
    begin to load at once, in order.
    """
    settings, manifest = settings_of(OrchestratorSettings, {}), factory.manifest

    def pool_of(name: str, worker: Worker) -> Pool[Worker]:
        return Pool(name, [Member(worker)], settings)

    def load_encoder() -> Encoder:
        return PooledEncoder(pool_of(ServiceKind.ENCODER, factory.encoder()))

    def load_language_model() -> LanguageModel:
        return PooledLanguageModel(pool_of(ServiceKind.LANGUAGE_MODEL, factory.language_model()))

    def load_decoder(modality: str) -> Decoder:
        return PooledDecoder(pool_of(modality, factory.decoder(modality)), manifest.decoder_of(modality).steps)

    encoder = LazyWorker(load_encoder, ENCODER)
    language_model = LazyWorker(load_language_model, LANGUAGE_MODEL)
    loads: dict[str, Callable[[], object]] = {ENCODER: encoder.start, LANGUAGE_MODEL: language_model.start}
    for name in preload:
        loads[name]()
    workers = Workers(
        LazyEncoder(encoder, language_model),
        LazyLanguageModel(language_model),
        {
            modality: LazyDecoder(LazyWorker(lambda modality=modality: load_decoder(modality), decoder_name(modality)))  # type: ignore[misc]
            for modality in manifest.signals
        },
    )
    # The encoder of this process takes the decoded media that the probe keeps.
    kept = partial(probe, preprocessing=manifest.encoder.preprocessing, keep=True)
    orchestrator = Orchestrator(workers, manifest, factory.digest, settings, kept)
    async with traced(settings_of(TracingSettings, {}), _SERVICE), orchestrator:
        yield orchestrator.for_caller(ANONYMOUS)
