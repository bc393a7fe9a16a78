"""The delivery of one answer: from a request to the screen and files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from motet.answers.answer import AnswerBuilder, MediaPart
from motet.answers.output_folder import OutputFolder
from motet.core.closing import closing
from motet.core.errors import FaultError
from motet.core.events import TEXT, Done, Generation, PartDone, PartStarted, PlanGrown, PlanNode
from motet.core.request import GenerationRequest
from motet.core.service import Motet
from services.cli.screens.screen import SavedMedia, Screen


@dataclass(frozen=True, slots=True)
class Delivery:
    """A complete answer: its text and its media, in order, the record of its generation, and its plan."""

    parts: tuple[str | SavedMedia, ...]
    generation: Generation
    plan: tuple[PlanNode, ...] = ()


async def deliver(motet: Motet, request: GenerationRequest, folder: OutputFolder, screen: Screen) -> Delivery:
    """Send a request, show each event, and write each media file when complete.

    Raises what `Motet.generate` raises, `RequestError` if a file cannot be written, and `FaultError` if the stream ends
    early or media do not match their digest.
    """
    start = time.monotonic()
    collected = AnswerBuilder(motet)
    paths: dict[str, Path] = {}
    saved: dict[int, SavedMedia] = {}
    plan: tuple[PlanNode, ...] = ()
    with folder:
        async with closing(motet.generate(request)) as events:
            async for event in events:
                part = await collected.add(event)
                path, file = None, None
                match event.payload:
                    case PlanGrown(nodes):
                        plan = nodes
                    case PartStarted() as started if started.modality != TEXT:
                        path = paths[started.part_id] = folder.reserve(started.modality, started.media_type)
                    case PartDone() as done if isinstance(part, MediaPart):
                        path = paths[done.part_id]
                        folder.write(path, part.data)
                        file = saved[part.index] = SavedMedia(part.modality, path, part.content, done.artifact)
                screen.show(event, path, file)
                if isinstance(event.payload, Done):
                    screen.show_summary(event.payload.generation, time.monotonic() - start, len(saved))
                    return Delivery(
                        tuple(saved.get(part.index) or str(part.content) for part in collected.parts),
                        event.payload.generation,
                        plan,
                    )
    raise FaultError("the event stream ended before the generation was done")
