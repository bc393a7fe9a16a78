"""Motet in this process: the orchestrator and all workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from motet.core.service import Motet
from motet.core.workers import Workers
from motet.media.decode import probe
from orchestrator.orchestrator import Orchestrator
from services.factory import Factory
from services.lazy import LazyDecoder, LazyEncoder, LazyLanguageModel, LazyWorker


@asynccontextmanager
async def embedded(factory: Factory) -> AsyncIterator[Motet]:
    """Yield an orchestrator over workers of this process. Each worker is loaded when first needed.

    The first media load the encoder. The first token of a signal loads the decoder of its modality. A prompt loads no
    worker that it does not use, and the text does not wait for decoders.
    """
    manifest = factory.manifest
    encoder = LazyWorker(factory.encoder, "encoder")
    decoders = {
        modality: LazyWorker(lambda modality=modality: factory.decoder(modality), f"{modality} decoder")  # type: ignore[misc]
        for modality in manifest.signals
    }
    language_model = LazyWorker(factory.language_model, "language model")
    workers = Workers(
        LazyEncoder(encoder, language_model),
        LazyLanguageModel(language_model),
        {modality: LazyDecoder(decoder) for modality, decoder in decoders.items()},
    )
    # The encoder of this process takes the decoded media that the probe keeps.
    async with Orchestrator(workers, manifest, factory.digest, probe=partial(probe, keep=True)) as orchestrator:
        yield orchestrator
