"""What the orchestrator's tests perform on: a small model of modalities "a" and "b", toys, and a strict listener."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from motet.core.bundle import Manifest
from motet.core.events import Done, Event, PartDelta, PartStarted
from motet.core.media import Media
from motet.core.request import GenerationRequest, Message
from motet.core.workers import Decoder, Encoder, LanguageModel, Workers
from motet.toys.workers import FIRST_SIGNAL, Script, Token, ToyDecoder, ToyEncoder, ToyLanguageModel
from orchestrator.orchestrator import Orchestrator
from orchestrator.settings import OrchestratorSettings
from tests.orchestrator.grammar import check

MODALITIES = ("a", "b")
RUN = 4
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
        "signals": {name: {"token": f"[{name}{{i}}]", "run": RUN, "decoder": name} for name in MODALITIES},
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


@dataclass(frozen=True, slots=True)
class Known:
    """What `probe` says."""

    media_type: str
    modality: str


async def probe(media: Media) -> Known:
    """Media of these tests say what they are: their type is "x/a", or they begin with "a"."""
    await asyncio.sleep(0)
    modality = media.media_type[-1:] or media.data[:1].decode()
    return Known(f"x/{modality}", modality)


def run_of(modality: str) -> list[Token]:
    """The tokens that ask for media of a modality."""
    return list(MANIFEST.grammar.run_of(modality).ids)


def script_of(*pieces: str | Token | Sequence[Token]) -> list[Token]:
    """A script: text as its code points, runs as they are."""
    tokens: list[Token] = []
    for piece in pieces:
        if isinstance(piece, str):
            tokens.extend(map(ord, piece))
        elif isinstance(piece, list | tuple):
            tokens.extend(piece)
        else:
            tokens.append(piece)  # type: ignore[arg-type]
    return tokens


def decoders(**others: Decoder) -> dict[str, Decoder]:
    """A well-behaved toy for each modality, but for those given."""
    return {name: others.get(name) or ToyDecoder(name, media_type=f"x/{name}") for name in MODALITIES}


def stage(
    script: Script | Sequence[Token] | LanguageModel | None = None,
    decoders_by_modality: Mapping[str, Decoder] | None = None,
    *,
    encoder: Encoder | None = None,
    workers: Workers | None = None,
    **settings: Any,
) -> Orchestrator:
    """An orchestrator over toys."""
    model = script if hasattr(script, "generate") else ToyLanguageModel(MANIFEST.grammar, script)  # type: ignore[arg-type]
    toys = Workers(encoder or ToyEncoder(), model, decoders_by_modality or decoders())  # type: ignore[arg-type]
    return Orchestrator(workers or toys, MANIFEST, DIGEST, OrchestratorSettings(**settings), probe)


def ask(*parts: str | Media, **options: Any) -> GenerationRequest:
    """A request of one turn."""
    return GenerationRequest((Message("user", parts or ("hello",)),), seed=options.pop("seed", 7), **options)


async def perform(orchestrator: Orchestrator, request: GenerationRequest | None = None) -> list[Event]:
    """All events of a generation, checked against the grammar; nothing may be at work afterwards.

    One that does not end fails its test soon, instead of hanging.
    """
    async with asyncio.timeout(20), aclosing(orchestrator.generate(request or ask())) as events:
        heard = [event async for event in events]
    check(heard)
    await settled(orchestrator)
    return heard


async def settled(orchestrator: Orchestrator) -> None:
    """Wait until no generation holds workers."""
    async with asyncio.timeout(2):
        while orchestrator.running:
            await asyncio.sleep(0)


def said(events: Iterable[Event], kind: type[Any]) -> list[Any]:
    """What happened of one kind."""
    return [event.payload for event in events if isinstance(event.payload, kind)]


def text_of(events: Iterable[Event]) -> str:
    """All text, in the order it was told."""
    return "".join(delta.chunk for delta in said(events, PartDelta) if isinstance(delta.chunk, str))


def media_of(events: Iterable[Event]) -> dict[str, bytes]:
    """Part id to the bytes that were told of it."""
    found: dict[str, bytes] = {}
    for delta in said(events, PartDelta):
        if isinstance(delta.chunk, bytes):
            found[delta.part_id] = found.get(delta.part_id, b"") + delta.chunk
    return found


def modalities(events: Iterable[Event]) -> list[str]:
    """The modalities of the parts, in the answer's order."""
    return [part.modality for part in sorted(said(events, PartStarted), key=lambda part: part.index)]


def ending(events: Sequence[Event]) -> Any:
    """The record in `Done`."""
    assert isinstance(events[-1].payload, Done)
    return events[-1].payload.generation


@asynccontextmanager
async def nothing_left_behind() -> AsyncIterator[None]:
    """Within, no task may be left running."""
    before = asyncio.all_tasks()
    yield
    left = [task for task in asyncio.all_tasks() - before if not task.done()]
    assert not left, left
