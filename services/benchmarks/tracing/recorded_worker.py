"""One worker as a process of its own that records what it does.

    python -m services.benchmarks.tracing.recorded_worker PART

It is served as `motet serve` serves it, over the same gRPC; the clock around the worker is all that is added.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from motet.toys.workers import ToyDecoder, ToyEncoder
from motet.transport.server import Servicer
from services.benchmarks.load.scripted_toys import language_model_of
from services.benchmarks.tracing.spans import (
    ENCODER,
    LANGUAGE_MODEL,
    ClockedDecoder,
    ClockedEncoder,
    ClockedLanguageModel,
    Record,
    Span,
    SpanFile,
)
from services.decoder.servicer import DecoderServicer
from services.encoder.servicer import EncoderServicer
from services.factory import Factory
from services.llm.servicer import LanguageModelServicer
from services.logs import configure_logs
from services.parent_watch import exit_with_parent
from services.serve import Service, serve, worker_service
from services.settings import WorkerSettings, settings_of

_LATER = 0.03
"""Seconds after a call at which its span is written, with those of the calls since."""


@dataclass(frozen=True, slots=True)
class RecordedPart:
    """What a player is told. `worker` is the encoder, the language model, or the modality that a decoder makes.

    Without a `bundle` it is a toy, `delay` seconds slow at each call, token or step. It works on `width` calls at a
    time, and its spans go to the file `spans`.
    """

    worker: str
    spans: str
    bundle: str | None = None
    delay: float = 0.0
    steps: int = 4
    width: int = 64
    threads: int = 1
    background: bool = False

    def line(self) -> str:
        """As one argument of a command."""
        return json.dumps(asdict(self))


def recorded_service(part: RecordedPart, record: Record) -> Service:
    """The service of a part, not begun."""
    given = {
        "bundle": part.bundle,
        "toy": part.bundle is None,
        "threads": part.threads,
        "background": part.background,
        "max_running": part.width,
        "max_queued": 10_000,
        "log_level": "warning",
    }
    settings = settings_of(WorkerSettings, given)
    name = part.worker if part.worker in (ENCODER, LANGUAGE_MODEL) else f"{part.worker} decoder"

    def servicer(factory: Factory) -> Servicer:
        return _clocked(part.worker, factory if part.bundle else _scripted(factory, part), record)

    return worker_service(name, "127.0.0.1:0", settings, lambda manifest: (), servicer)


def _scripted(factory: Factory, part: RecordedPart) -> Factory:
    """The factory of toys that write what prompts say."""
    manifest = factory.manifest
    shapes = {modality: tuple(manifest.decoder_of(modality).conditioning) for modality in manifest.signals}
    return replace(
        factory,
        encoder=lambda: ToyEncoder(delay=part.delay),
        language_model=lambda: language_model_of(manifest.grammar, shapes, part.delay),
        decoder=lambda modality: ToyDecoder(modality, steps=part.steps, delay=part.delay),
    )


def _clocked(worker: str, factory: Factory, record: Record) -> Servicer:
    if worker == ENCODER:
        return EncoderServicer(ClockedEncoder(factory.encoder(), record))
    if worker == LANGUAGE_MODEL:
        return LanguageModelServicer(ClockedLanguageModel(factory.language_model(), record))
    return DecoderServicer(ClockedDecoder(factory.decoder(worker), record))


def _written_later(spans: SpanFile) -> Record:
    """Spans go to the file when calls are over, several at a time: writing one takes as long as sending a message."""
    waiting: list[Span] = []

    def write() -> None:
        spans.write(waiting)
        waiting.clear()

    def record(span: Span) -> None:
        if not waiting:
            asyncio.get_running_loop().call_later(_LATER, write)
        waiting.append(span)

    return record


def main() -> int:
    """Serve the part that the command line describes, for as long as whoever started it is there."""
    part = RecordedPart(**json.loads(sys.argv[1]))
    if "--exit-with-parent" in sys.argv:
        exit_with_parent()
    configure_logs("warning")
    spans = SpanFile(Path(part.spans))
    try:
        return asyncio.run(serve(recorded_service(part, _written_later(spans))))
    finally:
        spans.close()


if __name__ == "__main__":
    sys.exit(main())
