"""A deployment on this machine, one process a service, whose workers record spans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from motet.core.bundle import Manifest
from motet.toys.manifest import TOY
from services.benchmarks.load.scripted_toys import ToyTimings
from services.benchmarks.tracing.recorded_worker import RecordedWorkerConfig
from services.benchmarks.tracing.spans import ENCODER, LANGUAGE_MODEL, SpanFile, WorkerSpan
from services.child_process import ChildProcess
from services.factory import open_bundle
from services.up.certificates import DeploymentCertificates
from services.up.deployment import options_of_settings

_LOG_LEVEL = "error"

_POLL_INTERVAL = 0.002
"""Seconds between two reads of the span files."""

_MAX_SILENCE = 3.0
"""Maximum seconds without a new span while spans are missing."""


@dataclass(frozen=True, slots=True)
class RecordedDeploymentConfig:
    """The workers of a deployment: those of a bundle or, without one, toys with these timings.

    `slots` is the maximum number of simultaneous calls of a decoder, and `sequences` that of the encoder and of the
    language model. With `certificates`, connections use TLS. With `keys`, a file, callers of the orchestrator need an
    API key. `quotas` is a file of the quotas of their tenants.
    """

    bundle: str | None = None
    timings: ToyTimings = field(default_factory=ToyTimings)
    slots: int = 8
    sequences: int = 64
    threads: int = 1
    certificates: DeploymentCertificates | None = None
    keys: Path | None = None
    quotas: Path | None = None

    @property
    def manifest(self) -> Manifest:
        """The manifest of the bundle, or of the toys."""
        return TOY if self.bundle is None else open_bundle(self.bundle, ()).manifest

    @property
    def steps(self) -> Mapping[str, int]:
        """The number of denoising steps of each modality's decoder."""
        manifest = self.manifest
        toys = self.bundle is None
        return {name: self.timings.steps if toys else manifest.decoder_of(name).steps for name in manifest.signals}

    def workers(self, folder: Path) -> dict[str, RecordedWorkerConfig]:
        """Return the configuration of each worker. Its span file is in the folder."""
        timings = self.timings
        delays = {ENCODER: timings.encode, LANGUAGE_MODEL: timings.token}
        delays |= {modality: timings.step_of(modality) for modality in self.manifest.signals}
        return {
            worker: RecordedWorkerConfig(
                worker,
                str(folder / f"{worker}.jsonl"),
                self.bundle,
                delay,
                timings.steps,
                timings.media_bytes,
                self.slots if worker in self.manifest.signals else self.sequences,
                self.threads,
                # `motet up` also starts decoders in the background.
                background=worker in self.manifest.signals,
                tls=self._worker_tls(worker),
            )
            for worker, delay in delays.items()
        }

    def orchestrator_arguments(self, addresses: Mapping[str, str]) -> list[str]:
        """Return the arguments of `motet serve` for an orchestrator of workers at these addresses."""
        decoders = [f"--decoder={modality}={addresses[modality]}" for modality in self.manifest.signals]
        model = ["--toy"] if self.bundle is None else ["--bundle", self.bundle]
        workers = ["--encoder", addresses[ENCODER], "--language-model", addresses[LANGUAGE_MODEL], *decoders]
        tls = options_of_settings(self.certificates.orchestrator_settings()) if self.certificates else []
        files = {"--keys": self.keys, "--quotas": self.quotas}
        access = [text for option, path in files.items() if path is not None for text in (option, str(path))]
        return ["orchestrator", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", *workers, *model, *tls, *access]

    def _worker_tls(self, worker: str) -> Mapping[str, str]:
        role = {ENCODER: "encoder", LANGUAGE_MODEL: "llm"}.get(worker, "decoder")
        return self.certificates.worker_settings(worker, role) if self.certificates else {}


@dataclass(frozen=True, slots=True)
class RecordedDeployment:
    """A running deployment: the addresses of the orchestrator and of its metrics, and the address of each worker."""

    config: RecordedDeploymentConfig
    orchestrator: str
    metrics: str
    workers: Mapping[str, str]
    _files: Mapping[str, SpanFile]

    @asynccontextmanager
    async def with_orchestrator(self, *options: str, log_level: str = _LOG_LEVEL) -> AsyncIterator[RecordedDeployment]:
        """Yield the deployment with a second orchestrator of its workers, which has more options of `motet serve`.

        The log lines of the second orchestrator are written and not kept.
        """
        arguments = [*self.config.orchestrator_arguments(self.workers), *options]
        child = await ChildProcess.start("orchestrator", arguments, log_level, stderr=asyncio.subprocess.DEVNULL)
        try:
            ready = await child.wait_ready()
            yield replace(self, orchestrator=ready.address, metrics=ready.metrics)
        finally:
            await child.kill()

    def read_spans(self) -> list[WorkerSpan]:
        """Return the spans recorded since the last call, in the order of their starts."""
        return sorted((span for file in self._files.values() for span in file.read()), key=lambda span: span.start)


async def collect_spans(deployment: RecordedDeployment, count: int, silence: float = 0.05) -> list[WorkerSpan]:
    """Wait for `count` spans and then for `silence` seconds without a new one. Return all new spans.

    A worker writes its span a while after its last output, so spans arrive late on a busy machine. Return fewer than
    `count` spans if none arrives for 3 seconds.
    """
    spans: list[WorkerSpan] = []
    silent = 0.0
    while silent < _MAX_SILENCE and not (len(spans) >= count and silent >= silence):
        await asyncio.sleep(_POLL_INTERVAL)
        new = deployment.read_spans()
        spans += new
        silent = 0.0 if new else silent + _POLL_INTERVAL
    return spans


@asynccontextmanager
async def recorded_deployment(config: RecordedDeploymentConfig) -> AsyncIterator[RecordedDeployment]:
    """Start all processes, and kill them at the end. Raises `MotetError` for the first process that does not start."""
    children: list[ChildProcess] = []
    with TemporaryDirectory(prefix="motet-bench-") as folder:
        configs = config.workers(Path(folder))
        files = {worker: SpanFile(Path(worker_config.spans)) for worker, worker_config in configs.items()}
        module = ("services.benchmarks.tracing.recorded_worker",)
        try:
            for worker, worker_config in configs.items():
                arguments = [worker_config.as_argument()]
                children.append(await ChildProcess.start(worker, arguments, _LOG_LEVEL, module))
            ready = await asyncio.gather(*(child.wait_ready() for child in children))
            workers = {worker: line.address for worker, line in zip(configs, ready, strict=True)}
            arguments = config.orchestrator_arguments(workers)
            children.append(await ChildProcess.start("orchestrator", arguments, _LOG_LEVEL))
            orchestrator = await children[-1].wait_ready()
            yield RecordedDeployment(config, orchestrator.address, orchestrator.metrics, workers, files)
        finally:
            # No request is running any more, so draining is not needed.
            await asyncio.gather(*(child.kill() for child in children))
            for file in files.values():
                file.close()
