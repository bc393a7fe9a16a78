"""One worker in its own process that records a span of each call.

    python -m services.benchmarks.tracing.recorded_worker CONFIG

The worker is served over gRPC as `motet serve` does it. Only the clock around the worker is added.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from motet.core.telemetry.service_kind import ServiceKind
from motet.toys.workers import ToyDecoder, ToyEncoder
from motet.transport.server import Servicer
from services.benchmarks.load.scripted_toys import scripted_language_model
from services.benchmarks.tracing.spans import (
    ENCODER,
    LANGUAGE_MODEL,
    RecordedDecoder,
    RecordedEncoder,
    RecordedLanguageModel,
    SpanFile,
    SpanRecorder,
    WorkerSpan,
)
from services.decoder.servicer import DecoderServicer
from services.encoder.servicer import EncoderServicer
from services.factory import Factory
from services.llm.servicer import LanguageModelServicer
from services.logs.lines import configure_logs
from services.parent_watch import exit_with_parent
from services.serve import Service, serve, worker_service
from services.settings import WorkerSettings, settings_of

_WRITE_DELAY = 0.03
"""Seconds from the end of a call until its span is written, together with the spans of later calls."""


@dataclass(frozen=True, slots=True)
class RecordedWorkerConfig:
    """The configuration of a recorded worker.

    `worker` is the encoder, the language model, or the modality of a decoder. Without a `bundle` it is a toy that takes
    `delay` seconds a call, token or step, and whose media have `media_bytes` bytes. `slots` is the maximum number of
    simultaneous calls. Spans go to the file `spans`. `tls` are the TLS settings of the service.
    """

    worker: str
    spans: str
    bundle: str | None = None
    delay: float = 0.0
    steps: int = 4
    media_bytes: int = 64
    slots: int = 64
    threads: int = 1
    background: bool = False
    tls: Mapping[str, str] = field(default_factory=dict)

    def as_argument(self) -> str:
        """Return the configuration as one argument of the command line."""
        return json.dumps(asdict(self))


def recorded_service(config: RecordedWorkerConfig, record: SpanRecorder) -> Service:
    """Return the service of a recorded worker, not started."""
    model = {"toy": True} if config.bundle is None else {"bundle": config.bundle, "threads": config.threads}
    values = {
        **model,
        "background": config.background,
        "max_running": config.slots,
        "max_queued": 10_000,
        "log_level": "warning",
        **config.tls,
    }
    settings = settings_of(WorkerSettings, values)
    kinds = {ENCODER: ServiceKind.ENCODER, LANGUAGE_MODEL: ServiceKind.LANGUAGE_MODEL}
    kind = kinds.get(config.worker, ServiceKind.DECODER)
    name = f"{config.worker} decoder" if kind is ServiceKind.DECODER else config.worker

    def servicer(factory: Factory) -> Servicer:
        return _recorded(config.worker, factory if config.bundle else _scripted(factory, config), record)

    return worker_service(kind, name, "127.0.0.1:0", settings, lambda manifest: (), servicer)


def _scripted(factory: Factory, config: RecordedWorkerConfig) -> Factory:
    """Return a factory of toys that follow the script in a prompt."""
    manifest = factory.manifest
    shapes = {modality: tuple(manifest.decoder_of(modality).conditioning) for modality in manifest.signals}
    return replace(
        factory,
        encoder=lambda: ToyEncoder(delay=config.delay),
        language_model=lambda: scripted_language_model(manifest.grammar, shapes, config.delay),
        decoder=lambda modality: ToyDecoder(modality, steps=config.steps, delay=config.delay, size=config.media_bytes),
    )


def _recorded(worker: str, factory: Factory, record: SpanRecorder) -> Servicer:
    if worker == ENCODER:
        return EncoderServicer(RecordedEncoder(factory.encoder(), record))
    if worker == LANGUAGE_MODEL:
        return LanguageModelServicer(RecordedLanguageModel(factory.language_model(), record))
    return DecoderServicer(RecordedDecoder(factory.decoder(worker), record))


def _delayed_writer(file: SpanFile) -> SpanRecorder:
    """Return a recorder that writes spans after the calls, in batches: one write takes as long as sending a message."""
    pending: list[WorkerSpan] = []

    def write() -> None:
        file.write(pending)
        pending.clear()

    def record(span: WorkerSpan) -> None:
        if not pending:
            asyncio.get_running_loop().call_later(_WRITE_DELAY, write)
        pending.append(span)

    return record


def main() -> int:
    """Serve the worker of the command line until its parent process exits."""
    config = RecordedWorkerConfig(**json.loads(sys.argv[1]))
    if "--exit-with-parent" in sys.argv:
        exit_with_parent()
    configure_logs("warning")
    file = SpanFile(Path(config.spans))
    try:
        return asyncio.run(serve(recorded_service(config, _delayed_writer(file))))
    finally:
        file.close()


if __name__ == "__main__":
    sys.exit(main())
