"""An orchestrator over toys: a small model of modalities "a" and "b", requests, and checks of all events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from motet.core.bundle import Manifest
from motet.core.events import Done, Event, PartDelta, PartStarted
from motet.core.media import Media
from motet.core.request import GenerationRequest, Message
from motet.core.service import Motet
from motet.core.workers import Decoder, Encoder, LanguageModel, Workers
from motet.media.decode import ProbeResult
from motet.toys.workers import FIRST_SIGNAL, Script, Token, ToyDecoder, ToyEncoder, ToyLanguageModel
from orchestrator.orchestrator import Orchestrator
from orchestrator.pool.member import Member
from orchestrator.pool.pool import Pool
from orchestrator.pool.workers import PooledDecoder, PooledEncoder, PooledLanguageModel
from orchestrator.quota.limits import QuotaClasses, no_quotas
from orchestrator.settings import OrchestratorSettings
from tests.callers import AnonymousOrchestrator
from tests.orchestrator.event_grammar import check_events

MODALITIES = ("a", "b")
RUN_LENGTH = 4
DIGEST = "d" * 64

MANIFEST = Manifest.model_validate(
    {
        "name": "toy",
        "licence": "Apache-2.0",
        "description": "For tests.",
        "encoder": {"kind": "toy", "path": "encoder", "modalities": list(MODALITIES)},
        "language_model": {
            "path": "llm",
            "projections": "projections",
            "prompt": "vicuna-v0",
            "first_control": FIRST_SIGNAL - 2,
            "max_tokens": 5000,
        },
        "signals": {name: {"token": f"[{name}{{i}}]", "run": RUN_LENGTH, "decoder": name} for name in MODALITIES},
        "decoders": {
            name: {
                "kind": "toy",
                "path": name,
                "conditioning": [4],
                "media_type": f"x/{name}",
                "steps": 2,
                "guidance": 1.0,
            }
            for name in MODALITIES
        },
        "files": {},
    }
)


async def probe(media: Media, tenant: str = "") -> ProbeResult:
    """Return the modality of test media: the end of their type, such as "x/a", or their first byte, such as "a"."""
    await asyncio.sleep(0)
    modality = media.media_type[-1:] or media.data[:1].decode()
    return ProbeResult(f"x/{modality}", modality)


def signal_run(modality: str) -> list[Token]:
    """Return the tokens that request media of a modality."""
    return list(MANIFEST.grammar.run_of(modality).ids)


def script_of(*pieces: str | Token | Sequence[Token]) -> list[Token]:
    """Return a script for the toy language model. Text becomes code points; tokens and runs stay as they are."""
    tokens: list[Token] = []
    for piece in pieces:
        if isinstance(piece, str):
            tokens.extend(map(ord, piece))
        elif isinstance(piece, list | tuple):
            tokens.extend(piece)
        else:
            tokens.append(piece)  # type: ignore[arg-type]
    return tokens


def toy_decoders(**others: Decoder) -> dict[str, Decoder]:
    """Return a toy decoder for each modality, except for the decoders in `others`."""
    return {name: others.get(name) or ToyDecoder(name, media_type=f"x/{name}") for name in MODALITIES}


def orchestrator_of(
    script: Script | Sequence[Token] | LanguageModel | None = None,
    decoders: Mapping[str, Decoder] | None = None,
    *,
    encoder: Encoder | None = None,
    workers: Workers | None = None,
    pooled: bool = True,
    manifest: Manifest = MANIFEST,
    quotas: Callable[[], QuotaClasses] = no_quotas,
    **settings: Any,
) -> AnonymousOrchestrator:
    """Return an orchestrator over toys. Each toy is behind a pool of one replica, unless `pooled` is false.

    `workers` replaces all toys, and is used without pools.
    """
    options = OrchestratorSettings(**settings)
    model = script if hasattr(script, "generate") else ToyLanguageModel(manifest.grammar, script)  # type: ignore[arg-type]
    toys = Workers(encoder or ToyEncoder(), model, decoders or toy_decoders())  # type: ignore[arg-type]
    workers = workers or (pools_of(toys, options, manifest) if pooled else toys)
    return AnonymousOrchestrator(workers, manifest, DIGEST, options, probe, quotas)


def pools_of(workers: Workers, settings: OrchestratorSettings, manifest: Manifest = MANIFEST) -> Workers:
    """Return pools of one replica each, as in an embedded deployment."""

    def pool_of(worker: Any) -> Pool[Any]:
        return Pool("toys", [Member(worker)], settings)

    return Workers(
        PooledEncoder(pool_of(workers.encoder)),
        PooledLanguageModel(pool_of(workers.language_model)),
        {
            modality: PooledDecoder(pool_of(decoder), manifest.decoder_of(modality).steps)
            for modality, decoder in workers.decoders.items()
        },
    )


def request_of(*parts: str | Media, **options: Any) -> GenerationRequest:
    """Return a request of one turn. The canary finds its prompt in a log line."""
    return GenerationRequest(
        (Message("user", parts or ("hello velvet canary",)),), seed=options.pop("seed", 7), **options
    )


async def run_generation(motet: Motet | AnonymousOrchestrator, request: GenerationRequest | None = None) -> list[Event]:
    """Return all events of a generation, checked against the grammar, once its workers are idle.

    Raises `TimeoutError` after 60 seconds, so that a generation that hangs fails its test.
    """
    async with asyncio.timeout(60), aclosing(motet.generate(request or request_of())) as stream:
        events = [event async for event in stream]
    check_events(events)
    if isinstance(motet, Orchestrator):
        await wait_idle(motet)
    return events


async def wait_idle(orchestrator: Orchestrator) -> None:
    """Wait until no generation has workers."""
    async with asyncio.timeout(90):
        while orchestrator.running:
            await asyncio.sleep(0.001)  # a virtual clock moves only while tasks wait for timers


def payloads_of(events: Iterable[Event], kind: type[Any]) -> list[Any]:
    """Return the payloads of one kind."""
    return [event.payload for event in events if isinstance(event.payload, kind)]


def text_of(events: Iterable[Event]) -> str:
    """Return all text, in the order of the events."""
    return "".join(delta.chunk for delta in payloads_of(events, PartDelta) if isinstance(delta.chunk, str))


def media_of(events: Iterable[Event]) -> dict[str, bytes]:
    """Return the bytes of the media parts in the events, by part id."""
    media: dict[str, bytes] = {}
    for delta in payloads_of(events, PartDelta):
        if isinstance(delta.chunk, bytes):
            media[delta.part_id] = media.get(delta.part_id, b"") + delta.chunk
    return media


def modalities_of(events: Iterable[Event]) -> list[str]:
    """Return the modalities of the parts, in the order of the answer."""
    return [part.modality for part in sorted(payloads_of(events, PartStarted), key=lambda part: part.index)]


def record_of(events: Sequence[Event]) -> Any:
    """Return the record in `Done`."""
    assert isinstance(events[-1].payload, Done)
    return events[-1].payload.generation


@asynccontextmanager
async def no_tasks_left() -> AsyncIterator[None]:
    """Check that no task that was created within the context is still running at its end."""
    before = asyncio.all_tasks()
    yield
    remaining = [task for task in asyncio.all_tasks() - before if not task.done()]
    assert not remaining, remaining
