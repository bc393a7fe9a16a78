"""The whole of Motet in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from motet.core.service import Motet
from motet.core.workers import Workers
from orchestrator.orchestrator import Orchestrator
from services.factory import Factory
from services.loading import Loading, LoadingDecoder, LoadingEncoder, LoadingLanguageModel


@asynccontextmanager
async def embedded(factory: Factory) -> AsyncIterator[Motet]:
    """An orchestrator over workers of this process. Each worker is loaded when it is first needed.

    The encoder waits for media. A decoder waits until the language model is there: loading both at once would keep
    the text waiting, and the decoders load while it is written.
    """
    manifest = factory.manifest
    encoder = Loading(factory.encoder, "encoder")
    decoders = {
        modality: Loading(lambda modality=modality: factory.decoder(modality), f"{modality} decoder")  # type: ignore[misc]
        for modality in manifest.signals
    }
    language_model = Loading(factory.language_model, "language model")
    workers = Workers(
        LoadingEncoder(encoder),
        LoadingLanguageModel(language_model),
        {modality: LoadingDecoder(loading) for modality, loading in decoders.items()},
    )
    async with Orchestrator(workers, manifest, factory.digest) as orchestrator:
        yield orchestrator
