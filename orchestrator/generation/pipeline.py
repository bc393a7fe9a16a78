"""The run of one generation: encode the prompt, run the language model, and run its media jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import sha256

from motet.core.bundle import Manifest
from motet.core.errors import CancelledError, DeadlineError, FaultError, MotetError
from motet.core.events import TEXT
from motet.core.logs.log_fields import LogFields, collected
from motet.core.media import Media
from motet.core.plan import MediaJob
from motet.core.request import DecoderOptions, FailurePolicy
from motet.core.telemetry.compute_time import collect_compute_times, job_compute_times
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.tensors import Tensor
from motet.core.tracing.span import Span
from motet.core.workers import DecodeJob, Prompt, Reservation, Workers, predicted_seconds, reservable
from orchestrator.generation import spans
from orchestrator.generation.admitted_request import AdmittedRequest
from orchestrator.generation.artifacts import Artifacts
from orchestrator.generation.event_writer import EventWriter
from orchestrator.generation.executor import execute
from orchestrator.generation.metrics_observer import measured_job, observe_compute_times
from orchestrator.generation.part_inputs import ConversationMedium, InputResolver
from orchestrator.generation.prompt import prompt_of
from orchestrator.generation.signal_reader import JobExpected, PartRefused, SignalReader
from orchestrator.generation.worker_errors import checked_media, translate_errors, worker_stream
from orchestrator.quota.account import Account
from orchestrator.quota.call_cost import charged_encoding, was_taken
from orchestrator.quota.token_cost import TokenCost
from orchestrator.settings import OrchestratorSettings

logger = logging.getLogger(__name__)

NO_OPTIONS = DecoderOptions()


class _PartFailedError(Exception):
    """A part failed, and the request requires all parts. `Done` was already written."""


class Pipeline:
    """Runs one admitted request. It does not know whether its workers are local or remote, and never retries."""

    def __init__(
        self,
        request: AdmittedRequest,
        writer: EventWriter,
        *,
        workers: Workers,
        manifest: Manifest,
        digest: str,
        artifacts: Artifacts,
        account: Account,
        settings: OrchestratorSettings,
    ) -> None:
        self._request = request
        self._writer = writer
        self._workers = workers
        self._manifest = manifest
        self._digest = digest
        self._artifacts = artifacts
        self._account = account
        self._settings = settings
        self._all_or_nothing = request.failure_policy is FailurePolicy.ALL_OR_NOTHING
        self._job_spans: dict[str, Span] = {}
        """By part id."""
        self._error: MotetError | None = None
        """The error of the encoder or of the language model."""
        self._reservations: dict[str, Reservation] = {}
        """By part id, from the first token of a signal until its media job starts."""
        self.log_fields: dict[str, LogFields] = {}
        """More fields of the generation's log line, by part id, or by the modality of all its parts."""

    @property
    def model(self) -> str:
        """The name of the model."""
        return self._manifest.name

    async def run(self) -> None:
        """Run to the end and write `Done`. Errors become events; only cancellation is raised."""
        times = collect_compute_times()
        try:
            with collected(self.log_fields.setdefault(TEXT, {})):
                prompt = await self._prompt()
                await execute(self._media_jobs(prompt), self)
        except _PartFailedError:
            return
        except MotetError as error:
            self._error = error
        finally:
            self._release(*self._reservations)
            manifest = self._manifest
            observe_compute_times(times, {TEXT, *manifest.encoder.modalities, *manifest.signals})
        self._finish(self._error)

    def stop(self, error: MotetError) -> None:
        """Write `Done` now, before the workers have stopped. The caller must cancel `run` as well."""
        self._finish(error)

    async def run_job(self, media_job: MediaJob, inputs: tuple[Media, ...]) -> Media:
        """Implement `JobRunner.run_job`: decode the media, store them and write the part's events."""
        with spans.media_job(self.model, media_job, self._job_spans), job_compute_times():
            return await self._run_job(media_job, inputs)

    async def _run_job(self, media_job: MediaJob, inputs: tuple[Media, ...]) -> Media:
        self._account.check_media(media_job.modality, self._artifacts.size_bytes)
        job = self._decode_job(media_job, inputs)
        timeout = self._settings.media_job_timeout
        fields = self.log_fields.setdefault(media_job.id, {})
        try:
            async with asyncio.timeout(timeout):
                call = self._writer.calls.measured(ServiceKind.DECODER, fields, media_job.id)
                with measured_job(media_job.modality), collected(fields), call:
                    media, steps = await self._decode(media_job, job)
        except TimeoutError as error:
            raise DeadlineError(
                f"decoding {media_job.modality} took longer than {timeout:g} s; ask for fewer steps"
            ) from error
        artifact, chunks = await self._artifacts.keep(media_job.modality, media)
        self._writer.complete(media_job.id, chunks, artifact, self._provenance(job, steps))
        return media

    def job_failed(self, media_job: MediaJob, error: MotetError) -> None:
        """Implement `JobRunner.job_failed`."""
        self._fail(media_job.id, error)

    async def _prompt(self) -> Prompt:
        """Return the language model's prompt: the conversation with embeddings in place of its media."""
        request = self._request
        media = [attachment.media for attachment in request.attachments]
        embeddings = await self._encode(media)
        if len(embeddings) != len(media):
            raise FaultError(f"the encoder returned {len(embeddings)} embeddings for {len(media)} pieces of media")
        return prompt_of(request, embeddings)

    async def _encode(self, media: Sequence[Media]) -> Sequence[Tensor]:
        request, encoder = self._request, self._workers.encoder
        if not media:
            return []
        fields: LogFields = {}
        call = self._writer.calls.measured(ServiceKind.ENCODER, fields)
        charged = charged_encoding(self._account, encoder, len(media), fields)
        with spans.encoding(self.model, len(media)), call, charged, collected(fields), translate_errors("the encoder"):
            return await encoder.encode(media, request.deadline, tenant=request.tenant, priority=request.priority)

    async def _media_jobs(self, prompt: Prompt) -> AsyncIterator[MediaJob]:
        """Run the language model: write its text and yield its media jobs.

        If the model fails, the jobs yielded before continue, unless the request requires all parts.
        """
        writer, model = self._writer, self._workers.language_model
        inputs = InputResolver(self._manifest.takes, self._request.takeable)
        reader = SignalReader(writer, self._request.ceilings, self._media_types(), inputs, self._settings)
        cost = TokenCost(prompt, self._manifest.language_model.max_tokens)
        answer = model.generate(prompt, self._request.deadline)
        try:
            with writer.calls.measured(ServiceKind.LANGUAGE_MODEL, self.log_fields[TEXT]):
                async with worker_stream("the language model", answer, spans.start_writing(self.model)) as events:
                    async for event in events:
                        cost.add(event)
                        for outcome in reader.read(event):
                            match outcome:
                                case MediaJob():
                                    writer.calls.request(outcome.id)
                                    yield outcome
                                case JobExpected(part_id, modality):
                                    self._reserve(part_id, modality)
                                case PartRefused(part_id, error):
                                    logger.info(
                                        "a signal was refused", extra={"part": part_id, "reason": error.reason.value}
                                    )
                                    self._fail(part_id, error)
                                case ConversationMedium():
                                    await self._store(outcome)
                        if reader.finished or writer.finished:
                            break
            if not reader.finished:
                raise FaultError("the language model's stream ended without `Finished`")
        except MotetError as error:
            self._error = error
            reader.stop(error)
            if self._all_or_nothing:
                self._stop_all(error)
        finally:
            cost.computing = was_taken(self.log_fields[TEXT]) and self._error is None
            self._account.charge_tokens(cost.tokens)
        writer.complete_plan()

    async def _store(self, medium: ConversationMedium) -> None:
        """Load a medium of the conversation that a part takes, and store it as an artifact if it has none."""
        media = await medium.load()
        if not medium.artifact:
            artifact, _ = await self._artifacts.keep(medium.modalities[0], media)
            medium.artifact = artifact.name

    def _reserve(self, part_id: str, modality: str) -> None:
        """Reserve a decoder, which may do whatever needs no conditioning before the job comes."""
        if decoder := reservable(self._workers.decoders[modality]):
            request = self._request
            steps = request.decoder_options.get(modality, NO_OPTIONS).steps
            self._reservations[part_id] = decoder.reserve(steps=steps, tenant=request.tenant, priority=request.priority)

    def _release(self, *part_ids: str) -> None:
        for part_id in part_ids:
            if reservation := self._reservations.pop(part_id, None):
                reservation.release()

    def _decode_job(self, media_job: MediaJob, inputs: tuple[Media, ...]) -> DecodeJob:
        request = self._request
        options = request.decoder_options.get(media_job.modality, NO_OPTIONS)
        return DecodeJob(
            modality=media_job.modality,
            conditioning=media_job.conditioning,
            seed=seed_of(request.seed, media_job.id),
            steps=options.steps,
            guidance=options.guidance,
            previews=request.previews,
            inputs=inputs,
            tenant=request.tenant,
            priority=request.priority,
            min_steps=options.min_steps,
        )

    async def _decode(self, media_job: MediaJob, job: DecodeJob) -> tuple[Media, int]:
        """Return the media and the number of denoising steps they took."""
        steps = self._requested_steps(job)
        decoder = self._reservations.pop(media_job.id, self._workers.decoders[job.modality])
        name = f"the decoder of {job.modality}"
        deadline = self._request.deadline.within(self._settings.media_job_timeout)
        taken = 0
        try:
            async with worker_stream(name, decoder.decode(job, deadline)) as events:
                async for event in events:
                    if isinstance(event, Media):
                        return checked_media(event, self._settings.max_media_bytes, name), steps
                    self._writer.progress(media_job.id, event)
                    steps, taken = event.total, max(taken, event.step)
        finally:
            # Media from the cache have no steps, and cancelled media have those that were taken.
            seconds = predicted_seconds(self._workers.decoders[job.modality], taken)
            self._account.charge_media(job.modality, seconds)
        raise FaultError(f"{name} ended without a result")

    def _fail(self, part_id: str, error: MotetError) -> None:
        self._release(part_id)
        self._writer.fail(part_id, error)
        if self._all_or_nothing:
            self._stop_all(error)

    def _stop_all(self, error: MotetError) -> None:
        """Write `Done` with all open parts failed, and stop the run."""
        others = CancelledError("another part failed, and the request requires all parts")
        self._finish(error, open_parts_error=others)
        raise _PartFailedError

    def _finish(self, error: MotetError | None, *, open_parts_error: MotetError | None = None) -> None:
        self._writer.finish(
            error,
            open_parts_error=open_parts_error,
            all_or_nothing=self._all_or_nothing,
            kept_for=self._settings.result_ttl,
        )

    def _media_types(self) -> Mapping[str, str]:
        """Return the media type of each modality that has a decoder."""
        return {
            modality: self._manifest.decoder_of(modality).media_type
            for modality in self._manifest.signals
            if modality in self._workers.decoders
        }

    def _requested_steps(self, job: DecodeJob) -> int:
        return job.steps or self._manifest.decoder_of(job.modality).steps

    def _provenance(self, job: DecodeJob, steps: int) -> Mapping[str, str]:
        guidance, requested = self._manifest.decoder_of(job.modality).guidance, self._requested_steps(job)
        degraded = {"degraded_from": str(requested)} if job.min_steps is not None and steps < requested else {}
        inputs = {"inputs": ",".join(media.sha256.hex() for media in job.inputs)} if job.inputs else {}
        return {
            "bundle": self._manifest.name,
            "digest": self._digest,
            "seed": str(job.seed),
            "steps": str(steps),
            "guidance": f"{job.guidance or guidance:g}",
            **degraded,
            **inputs,
        }


def seed_of(seed: int, part_id: str) -> int:
    """Return the seed of a part, 63 bits. It depends on the request's seed and the part's id, never on timing."""
    return int.from_bytes(sha256(f"{seed}/{part_id}".encode()).digest()[:8], "big") >> 1
