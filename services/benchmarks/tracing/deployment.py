"""A whole Motet as processes of this machine, whose workers record what they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from motet.core.bundle import Manifest
from motet.toys.manifest import TOY
from services.benchmarks.load.scripted_toys import Pace
from services.benchmarks.tracing.recorded_worker import RecordedPart
from services.benchmarks.tracing.spans import ENCODER, LANGUAGE_MODEL, Span, SpanFile
from services.child_process import ChildProcess
from services.factory import open_bundle

_LOG_LEVEL = "error"
_LOOK, _PATIENCE = 0.002, 3.0
"""Seconds between two looks for spans, and without any new ones when some are missing."""


@dataclass(frozen=True, slots=True)
class Lineup:
    """Who plays: the workers of a bundle or, without one, toys of some pace.

    `width` is how many calls a decoder works on at a time.
    """

    bundle: str | None = None
    pace: Pace = field(default_factory=Pace)
    width: int = 8
    threads: int = 1

    @property
    def manifest(self) -> Manifest:
        """What the workers can do."""
        return TOY if self.bundle is None else open_bundle(self.bundle, ()).manifest

    @property
    def steps(self) -> Mapping[str, int]:
        """How many denoising steps each modality's decoder takes."""
        manifest = self.manifest
        toys = self.bundle is None
        return {name: self.pace.steps if toys else manifest.decoder_of(name).steps for name in manifest.signals}

    def parts(self, folder: Path) -> dict[str, RecordedPart]:
        """Each worker's part, its spans in a file of this folder."""
        pace = self.pace
        delays = {ENCODER: pace.encode, LANGUAGE_MODEL: pace.token}
        delays |= {modality: pace.step_of(modality) for modality in self.manifest.signals}
        return {
            worker: RecordedPart(
                worker,
                str(folder / f"{worker}.jsonl"),
                self.bundle,
                delay,
                pace.steps,
                self.width if worker in self.manifest.signals else 64,
                self.threads,
                # As `motet up` starts them.
                background=worker in self.manifest.signals,
            )
            for worker, delay in delays.items()
        }

    def orchestrator(self, addresses: Mapping[str, str]) -> list[str]:
        """How `motet serve` is told to be the orchestrator of workers at these addresses."""
        decoders = [f"--decoder={modality}={addresses[modality]}" for modality in self.manifest.signals]
        model = ["--toy"] if self.bundle is None else ["--bundle", self.bundle]
        workers = ["--encoder", addresses[ENCODER], "--language-model", addresses[LANGUAGE_MODEL], *decoders]
        return ["orchestrator", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", *workers, *model]


@dataclass(frozen=True, slots=True)
class RecordedDeployment:
    """Where they play: the orchestrator's address, and each worker's."""

    lineup: Lineup
    orchestrator: str
    workers: Mapping[str, str]
    _files: Mapping[str, SpanFile]

    def spans(self) -> list[Span]:
        """What the workers did since this was last asked, in the order in which they began."""
        return sorted((span for file in self._files.values() for span in file.read()), key=lambda span: span.begun)


async def settled(band: RecordedDeployment, count: int, breath: float = 0.05) -> list[Span]:
    """All spans since they were last asked for, once there are `count` and `breath` seconds brought no more.

    They are written after a worker's last word; on a busy machine, a while after. Where fewer come, it gives up.
    """
    spans: list[Span] = []
    quiet = 0.0
    while quiet < _PATIENCE and not (len(spans) >= count and quiet >= breath):
        await asyncio.sleep(_LOOK)
        more = band.spans()
        spans += more
        quiet = 0.0 if more else quiet + _LOOK
    return spans


@asynccontextmanager
async def playing(lineup: Lineup) -> AsyncIterator[RecordedDeployment]:
    """Start all of them; no process is left behind. Raises `MotetError`, naming the first that does not come up."""
    children: list[ChildProcess] = []
    with TemporaryDirectory(prefix="motet-bench-") as folder:
        parts = lineup.parts(Path(folder))
        files = {worker: SpanFile(Path(part.spans)) for worker, part in parts.items()}
        try:
            for worker, part in parts.items():
                children.append(
                    await ChildProcess.start(
                        worker, [part.line()], _LOG_LEVEL, ("services.benchmarks.tracing.recorded_worker",)
                    )
                )
            ready = await asyncio.gather(*(child.announced() for child in children))
            workers = {worker: one.address for worker, one in zip(parts, ready, strict=True)}
            children.append(await ChildProcess.start("orchestrator", lineup.orchestrator(workers), _LOG_LEVEL))
            yield RecordedDeployment(lineup, (await children[-1].announced()).address, workers, files)
        finally:
            # Nobody waits for an answer any more, so nothing is lost by not draining them.
            await asyncio.gather(*(child.killed() for child in children))
            for file in files.values():
                file.close()
