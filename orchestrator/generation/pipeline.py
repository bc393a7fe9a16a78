"""One request on its way from prompt to parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import sha256
from typing import Protocol

from motet.core.bundle import Manifest
from motet.core.errors import CancelledError, DeadlineError, FaultError, MotetError
from motet.core.events import Artifact
from motet.core.media import Media
from motet.core.plan import MediaJob
from motet.core.request import DecoderOptions, FailurePolicy
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Embedding, Prompt, Reservation, Turn, Workers, reservable
from orchestrator.generation.admitted_request import AdmittedRequest
from orchestrator.generation.event_writer import EventWriter
from orchestrator.generation.executor import execute
from orchestrator.generation.metrics_observer import measured_job
from orchestrator.generation.signal_reader import SignalReader
from orchestrator.generation.worker_errors import translate_errors, worker_stream
from orchestrator.settings import OrchestratorSettings

NO_OPTIONS = DecoderOptions()


class Keep(Protocol):
    """Where finished media go."""

    async def keep(self, modality: str, media: Media) -> tuple[Artifact, tuple[bytes, ...]]:
        """Keep media for download; also gives their bytes in chunks, none where they are too large to be sent along."""
        ...


class _AbandonedError(Exception):
    """Part of the answer failed, and the caller wants all of it or none; the end has been told."""


class Pipeline:
    """Answers one order. It cannot tell local workers from remote ones."""

    def __init__(
        self,
        order: AdmittedRequest,
        answer: EventWriter,
        *,
        workers: Workers,
        manifest: Manifest,
        digest: str,
        artifacts: Keep,
        settings: OrchestratorSettings,
    ) -> None:
        self._order = order
        self._answer = answer
        self._workers = workers
        self._manifest = manifest
        self._digest = digest
        self._artifacts = artifacts
        self._settings = settings
        self._whole = order.failure_policy is FailurePolicy.ALL_OR_NOTHING
        self._trouble: MotetError | None = None
        self._places: dict[str, Reservation] = {}
        """By part, for those whose signal has begun."""

    async def run(self) -> None:
        """From prompt to `Done`. Whatever goes wrong is told in the answer; only cancellation is raised."""
        try:
            prompt = await self._prompt()
            await execute(self._steps(prompt), self)
        except _AbandonedError:
            return
        except MotetError as error:
            self._trouble = error
        finally:
            self._give_back(*self._places)
        self._finish(self._trouble)

    def stop(self, error: MotetError) -> None:
        """Tell the end at once, before those who are at work have noticed; whoever calls this cancels `run` as well."""
        self._finish(error)

    async def make(self, step: MediaJob, inputs: tuple[Media, ...]) -> Media:
        """Have one step decoded and its media told. Tried once more where that is safe: nothing of it was told yet."""
        options = self._order.decoder_options.get(step.modality, NO_OPTIONS)
        job = DecodeJob(
            modality=step.modality,
            conditioning=step.conditioning,
            seed=seed_of(self._order.seed, step.id),
            steps=options.steps,
            guidance=options.guidance,
            previews=self._order.previews,
            inputs=inputs,
            tenant=self._order.tenant,
            priority=self._order.priority,
            min_steps=options.min_steps,
        )
        seconds = self._settings.step_timeout
        try:
            async with asyncio.timeout(seconds):
                with measured_job(step.modality):
                    media, taken = await self._decode(step, job)
        except TimeoutError as error:
            raise DeadlineError(
                f"making {step.modality} took longer than {seconds:g} s; ask for fewer steps"
            ) from error
        artifact, chunks = await self._artifacts.keep(step.modality, media)
        self._answer.complete(step.id, chunks, artifact, self._provenance(job, taken))
        return media

    def failed(self, step: MediaJob, error: MotetError) -> None:
        """One step failed."""
        self._fail(step.id, error)

    async def _prompt(self) -> Prompt:
        """The conversation as the language model reads it, each piece of media replaced by its embedding."""
        order = self._order
        tensors = await self._embeddings(media := [attachment.media for attachment in order.attachments])
        if len(tensors) != len(media):
            raise FaultError(f"the encoder answered {len(media)} pieces of media with {len(tensors)} embeddings")
        rest = iter(tensors)
        turns = tuple(
            Turn(
                turn.role,
                tuple(part if isinstance(part, str) else Embedding(part.modality, next(rest)) for part in turn.parts),
            )
            for turn in order.turns
        )
        return Prompt(
            turns=turns,
            ceilings=order.ceilings,
            max_tokens=order.max_tokens,
            temperature=order.temperature,
            top_p=order.top_p,
            seed=order.seed,
            tenant=order.tenant,
            priority=order.priority,
        )

    async def _embeddings(self, media: Sequence[Media]) -> Sequence[Tensor]:
        order, encoder = self._order, self._workers.encoder
        if not media:
            return []
        with translate_errors("the encoder"):
            return await encoder.encode(media, order.deadline, tenant=order.tenant, priority=order.priority)

    async def _steps(self, prompt: Prompt) -> AsyncIterator[MediaJob]:
        """Tell the text; yield each step the moment it is known. A model that fails ends the steps, not the rest."""
        answer, model = self._answer, self._workers.language_model
        score = SignalReader(
            answer, self._fail, self._expect, self._order.ceilings, self._media_types(), self._settings
        )
        try:
            async with worker_stream("the language model", model.generate(prompt, self._order.deadline)) as events:
                async for event in events:
                    if step := score.read(event):
                        yield step
                    if score.finished or answer.over:
                        break
            if not score.finished:
                raise FaultError("the language model ended without saying so")
        except MotetError as error:
            self._trouble = error
            score.cut(error)
            if self._whole:
                self._abandon(error)
        answer.complete_plan()

    def _expect(self, part_id: str, modality: str) -> None:
        """A signal has begun: its decoder may begin, too, with what needs no conditioning."""
        if decoder := reservable(self._workers.decoders[modality]):
            order = self._order
            steps = order.decoder_options.get(modality, NO_OPTIONS).steps
            self._places[part_id] = decoder.reserve(steps=steps, tenant=order.tenant, priority=order.priority)

    def _give_back(self, *part_ids: str) -> None:
        for part_id in part_ids:
            if place := self._places.pop(part_id, None):
                place.release()

    async def _decode(self, step: MediaJob, job: DecodeJob) -> tuple[Media, int]:
        """The media, and how many denoising steps they took."""
        taken = self._wanted(job)
        decoder = self._places.pop(step.id, self._workers.decoders[step.modality])
        name = f"the decoder of {step.modality}"
        deadline = self._order.deadline.within(self._settings.step_timeout)
        async with worker_stream(name, decoder.decode(job, deadline)) as events:
            async for event in events:
                if isinstance(event, Media):
                    return self._checked(event, name), taken
                self._answer.progress(step.id, event)
                taken = event.total
        raise FaultError(f"{name} ended without making anything")

    def _checked(self, media: Media, decoder: str) -> Media:
        limit = self._settings.max_media_bytes
        if not media.data or len(media.data) > limit:
            raise FaultError(f"{decoder} made {len(media.data)} bytes; 1 to {limit} are allowed")
        return media

    def _fail(self, part_id: str, error: MotetError) -> None:
        self._give_back(part_id)
        self._answer.fail(part_id, error)
        if self._whole:
            self._abandon(error)

    def _abandon(self, error: MotetError) -> None:
        self._finish(error, rest=CancelledError("another part failed, and the request wants all parts or none"))
        raise _AbandonedError

    def _finish(self, error: MotetError | None, *, rest: MotetError | None = None) -> None:
        self._answer.finish(error, rest=rest, whole=self._whole, kept_for=self._settings.result_ttl)

    def _media_types(self) -> Mapping[str, str]:
        """What can be made, and what it comes as."""
        return {
            modality: self._manifest.decoder_of(modality).media_type
            for modality in self._manifest.signals
            if modality in self._workers.decoders
        }

    def _wanted(self, job: DecodeJob) -> int:
        return job.steps or self._manifest.decoder_of(job.modality).steps

    def _provenance(self, job: DecodeJob, taken: int) -> Mapping[str, str]:
        guidance, wanted = self._manifest.decoder_of(job.modality).guidance, self._wanted(job)
        degraded = {"degraded_from": str(wanted)} if job.min_steps is not None and taken < wanted else {}
        return {
            "bundle": self._manifest.name,
            "digest": self._digest,
            "seed": str(job.seed),
            "steps": str(taken),
            "guidance": f"{job.guidance or guidance:g}",
            **degraded,
        }


def seed_of(seed: int, part_id: str) -> int:
    """The seed of one part, 63 bits: it follows from the request's seed and the part's place, whatever the timing."""
    return int.from_bytes(sha256(f"{seed}/{part_id}".encode()).digest()[:8], "big") >> 1
