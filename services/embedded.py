"""The whole of Motet in this process."""

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
    """An orchestrator over workers of this process. Each worker is loaded when it is first needed.

    The encoder waits for media to be read, a decoder for the first token of a signal of its modality: what a prompt
    does not take is not loaded, and the text comes as soon as it can.
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
        {modality: LazyDecoder(loading) for modality, loading in decoders.items()},
    )
    # The encoder of this process takes the decoded media that the probe keeps.
    async with Orchestrator(workers, manifest, factory.digest, probe=partial(probe, keep=True)) as orchestrator:
        yield orchestrator
