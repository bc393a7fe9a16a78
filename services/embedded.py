"""Motet in this process: the orchestrator and all workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from motet.core.service import Motet
from motet.core.workers import Decoder, Encoder, LanguageModel, Workers
from motet.media.decode import probe
from orchestrator.orchestrator import Orchestrator
from orchestrator.pool.pool import Member, Pool
from orchestrator.pool.workers import PooledDecoder, PooledEncoder, PooledLanguageModel
from orchestrator.settings import OrchestratorSettings
from services.factory import Factory
from services.lazy import LazyDecoder, LazyEncoder, LazyLanguageModel, LazyWorker
from services.settings import settings_of

Worker = TypeVar("Worker")


@asynccontextmanager
async def embedded(factory: Factory) -> AsyncIterator[Motet]:
    """Yield an orchestrator over workers of this process. Each worker is loaded when first needed.

    Raises `SettingsError` for a wrong setting in the environment.

    The first media load the encoder. The first token of a signal loads the decoder of its modality. A prompt loads no
    worker that it does not use, and the text does not wait for decoders. Each worker is behind a pool of one replica,
    so its calls are retried like those of remote workers.
    """
    settings, manifest = settings_of(OrchestratorSettings, {}), factory.manifest

    def pool_of(name: str, worker: Worker) -> Pool[Worker]:
        return Pool(name, [Member(worker)], settings)

    def load_encoder() -> Encoder:
        return PooledEncoder(pool_of("encoder", factory.encoder()))

    def load_language_model() -> LanguageModel:
        return PooledLanguageModel(pool_of("language model", factory.language_model()))

    def load_decoder(modality: str) -> Decoder:
        return PooledDecoder(pool_of(modality, factory.decoder(modality)), manifest.decoder_of(modality).steps)

    language_model = LazyWorker(load_language_model, "language model")
    workers = Workers(
        LazyEncoder(LazyWorker(load_encoder, "encoder"), language_model),
        LazyLanguageModel(language_model),
        {
            modality: LazyDecoder(LazyWorker(lambda modality=modality: load_decoder(modality), f"{modality} decoder"))  # type: ignore[misc]
            for modality in manifest.signals
        },
    )
    # The encoder of this process takes the decoded media that the probe keeps.
    kept = partial(probe, keep=manifest.encoder.preprocessing)
    async with Orchestrator(workers, manifest, factory.digest, settings, kept) as orchestrator:
        yield orchestrator
