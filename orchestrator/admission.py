"""The validation of requests, and the defaults of all fields that a request leaves open."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Collection, Sequence
from typing import Protocol

from motet.core.bundle import Manifest
from motet.core.caller import MAX_TENANT_LENGTH
from motet.core.clock import now
from motet.core.concurrent.encode_each import run_concurrently
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, MediaError, NotFoundError, Reason, RequestError
from motet.core.events import TEXT
from motet.core.media import Media, joined
from motet.core.request import (
    MAX_OUTPUT_TOKENS,
    MAX_PARTS,
    ArtifactName,
    Content,
    GenerationRequest,
    Message,
    check_numbers,
    check_request_id,
)
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import OTHER, Stage, record_stage
from motet.core.workers import Role
from motet.media.child_slots import READINGS_PER_REQUEST
from motet.media.decode import ProbeResult
from motet.media.kinds import modality_of
from orchestrator.artifact_store import TenantArtifacts
from orchestrator.generation.admitted_request import AdmittedMedia, AdmittedRequest, AdmittedTurn
from orchestrator.generation.part_inputs import ConversationMedium
from orchestrator.request_limits import check_bytes, check_count
from orchestrator.settings import OrchestratorSettings

logger = logging.getLogger(__name__)

MAX_MODEL_LENGTH = 128


class Probe(Protocol):
    """A function that detects the type of media from the bytes, see `motet.media.decode.probe`."""

    def __call__(self, media: Media, *, tenant: str) -> Awaitable[ProbeResult]:
        """Return the type and the facts. Raises `MediaError`. `tenant` only affects the scheduling."""
        ...


class Admission:
    """The admission of requests: `admit` returns an admitted request or raises `RequestError` before any work starts.

    `outputs` are the modalities that the deployment can generate.
    """

    def __init__(
        self,
        manifest: Manifest,
        outputs: Collection[str],
        probe: Probe,
        settings: OrchestratorSettings,
    ) -> None:
        self._manifest = manifest
        self._outputs = outputs
        self._probe = probe
        self._settings = settings
        self._taken = {name for slots in manifest.takes.values() for slot in slots for name in slot}
        """The modalities that signals take."""

    @property
    def model(self) -> str:
        """The name of the model."""
        return self._manifest.name

    @property
    def outputs(self) -> Collection[str]:
        """The modalities that the deployment can generate."""
        return self._outputs

    async def admit(self, request: GenerationRequest, artifacts: TenantArtifacts) -> AdmittedRequest:
        """Return the admitted request. Its deadline starts now and ends a little before the caller's deadline.

        The prompt may name only the caller's own `artifacts`.

        Raises `RequestError`, `MediaError` for an attachment, `NotFoundError` for an unknown model or artifact, and
        `DeadlineError` if the probes of the attachments take too long.
        """
        check_request_id(request.request_id)
        self._check_model(request.model)
        self._check_turns(request.turns)
        check_numbers(request)
        check_count("characters in a tenant's name", len(request.tenant), MAX_TENANT_LENGTH)
        for modalities in (request.allowed_modalities or (), request.max_parts, request.decoder_options):
            self._check_outputs(modalities)
        deadline = self._deadline(request.timeout)
        turns = await self._admit_turns(request.turns, request.tenant, artifacts, deadline)
        return AdmittedRequest(
            turns=turns,
            ceilings=self._ceilings(request),
            seed=secrets.randbits(63) if request.seed is None else request.seed,
            deadline=deadline,
            max_tokens=self._max_tokens(request.max_output_tokens),
            failure_policy=request.failure_policy,
            previews=request.previews,
            temperature=request.temperature,
            top_p=request.top_p or 1.0,
            decoder_options=request.decoder_options,
            tenant=request.tenant,
            priority=min(request.priority, self._settings.max_priority),
            takeable=self._takeable(request.turns, turns, artifacts) if self._taken else (),
        )

    async def admit_upload(self, media: Media, tenant: str) -> AdmittedMedia:
        """Return media with the modality and type of their bytes, see `Probe`. Raise `MediaError` or `RequestError`."""
        self._check_size(media)
        return await self._probe_media(media, tenant)

    def _check_model(self, model: str) -> None:
        check_count("characters in a model's name", len(model), MAX_MODEL_LENGTH)
        name = self._manifest.name
        if model not in ("", name):
            raise NotFoundError(
                f"this server has no model {model!r}; request {name!r}, or leave the model out",
                Reason.MODEL_NOT_FOUND,
                {"model": model, "supported": name},
            )

    def _check_turns(self, turns: tuple[Message, ...]) -> None:
        if not turns or turns[-1].role != "user":
            raise RequestError("the last turn must be the user's: end the conversation with a user's message")
        if not any(not isinstance(part, str) or part.strip() for part in turns[-1].parts):
            raise RequestError("the prompt is empty: write some text or attach media")
        check_count("turns in a conversation", len(turns), self._settings.max_turns)
        check_count("parts in a conversation", sum(len(turn.parts) for turn in turns), MAX_PARTS)
        for turn in turns:
            check_count("parts in a turn", len(turn.parts), self._settings.max_turn_parts)
            for part in turn.parts:
                if isinstance(part, str):
                    self._check_text(part)
        media = sum(_is_attachment(turn.role, part) for turn in turns for part in turn.parts)
        check_count("attachments in a conversation", media, self._settings.max_input_media)

    def _check_text(self, text: str) -> None:
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            raise RequestError("a text part is not valid Unicode: it contains half of a surrogate pair") from error
        check_bytes("a text part", size, self._settings.max_text_bytes)

    def _check_outputs(self, modalities: Collection[str]) -> None:
        for modality in modalities:
            if modality != TEXT and modality not in self._outputs:
                raise _unsupported(f"{self._manifest.name} does not generate {modality!r}", modality, self._outputs)

    def _check_input(self, modality: str) -> None:
        supported = self._manifest.encoder.modalities
        if modality not in supported:
            raise _unsupported(f"{self._manifest.name} does not read {modality!r}", modality, supported)

    def _check_size(self, media: Media) -> None:
        check_bytes("an attachment", len(media.data), self._settings.max_media_bytes)

    def _ceilings(self, request: GenerationRequest) -> dict[str, int]:
        limit = self._settings.max_parts_per_modality
        return {
            modality: min(limit, request.max_parts.get(modality, limit))
            for modality in self._outputs
            if request.allowed_modalities is None or modality in request.allowed_modalities
        }

    def _max_tokens(self, requested: int | None) -> int:
        settings, manifest = self._settings.max_output_tokens, self._manifest.language_model.max_tokens
        limits = (requested, settings, manifest, MAX_OUTPUT_TOKENS)
        return min(limit for limit in limits if limit is not None)

    def _deadline(self, timeout: float | None) -> Deadline:
        seconds = min(self._settings.max_duration, timeout or math.inf)
        # The last events need time too. With a short timeout they get a fifth of it.
        return Deadline.after(seconds - min(self._settings.deadline_margin, seconds / 5))

    async def _admit_turns(
        self, turns: tuple[Message, ...], tenant: str, artifacts: TenantArtifacts, deadline: Deadline
    ) -> tuple[AdmittedTurn, ...]:
        """Return the turns with admitted attachments. Check the sizes first, then probe concurrently."""
        attachments: list[Media | AdmittedMedia] = []
        size = 0
        for role, part in ((turn.role, part) for turn in turns for part in turn.parts if not isinstance(part, str)):
            attachments.append(await self._resolve(role, part, artifacts))
            size += len(_media_of(attachments[-1]).data)
            check_bytes("the attachments of a conversation", size, self._settings.max_input_bytes)
        admitted = iter(await self._admit_media(attachments, tenant, deadline) if attachments else ())
        return tuple(
            AdmittedTurn(turn.role, tuple(part if isinstance(part, str) else next(admitted) for part in turn.parts))
            for turn in turns
        )

    async def _resolve(
        self, role: Role, part: Media | ArtifactName, artifacts: TenantArtifacts
    ) -> Media | AdmittedMedia:
        """Return attached bytes as `Media`. Return an artifact as `AdmittedMedia`, because it needs no probe.

        An artifact in a turn of the assistant comes without its bytes: the language model needs only the modality.
        """
        if isinstance(part, Media):
            self._check_size(part)
            return part
        stored = artifacts.find(part.name)
        modality = stored.artifact.modality
        if role == "assistant":
            return AdmittedMedia(modality, Media(stored.artifact.media_type, b""))
        if modality not in self._manifest.encoder.modalities:
            # Decoders of several modalities may make media of one type, such as clips. The encoder reads the type.
            modality = modality_of(stored.artifact.media_type) or modality
        self._check_input(modality)
        data = await joined(stored.chunks)
        media = Media.with_digest(stored.artifact.media_type, data, stored.artifact.sha256)
        return AdmittedMedia(modality, media)

    def _takeable(
        self, turns: tuple[Message, ...], admitted: tuple[AdmittedTurn, ...], artifacts: TenantArtifacts
    ) -> tuple[ConversationMedium, ...]:
        """Return the newest medium of each modality that a signal takes, the newest last.

        Raises `NotFoundError` if an artifact was removed since it was resolved.
        """
        newest: list[ConversationMedium] = []
        missing = set(self._taken)
        sent = [part for turn in turns for part in turn.parts]
        for part, found in zip(reversed(sent), reversed([p for turn in admitted for p in turn.parts]), strict=True):
            if isinstance(part, str) or isinstance(found, str) or not missing:
                continue
            medium = _medium(part, found, artifacts)
            if missing.intersection(medium.modalities):
                missing.difference_update(medium.modalities)
                newest.append(medium)
        return tuple(reversed(newest))

    async def _admit_media(
        self, attachments: Sequence[Media | AdmittedMedia], tenant: str, deadline: Deadline
    ) -> list[AdmittedMedia]:
        probes = asyncio.Semaphore(READINGS_PER_REQUEST)

        async def admit(attachment: Media | AdmittedMedia) -> AdmittedMedia:
            if isinstance(attachment, AdmittedMedia):
                return attachment
            async with probes:
                return await self._probe_media(attachment, tenant)

        try:
            async with asyncio.timeout(deadline.remaining()):
                return await run_concurrently(map(admit, attachments))
        except TimeoutError as error:
            raise DeadlineError("the deadline passed while the attached media were probed; allow more time") from error

    async def _probe_media(self, media: Media, tenant: str) -> AdmittedMedia:
        started, modality = now(), OTHER
        try:
            result = await self._probe(media, tenant=tenant)
            modality = result.modality
        except MediaError as error:
            logger.info("media were refused", extra={"reason": error.reason.value, "bytes": len(media.data)})
            raise
        finally:
            record_stage(ServiceKind.ORCHESTRATOR, Stage.PROBE, modality, started, now())
        self._check_input(result.modality)
        return AdmittedMedia(result.modality, media.with_type(result.media_type))


def _medium(part: Media | ArtifactName, found: AdmittedMedia, artifacts: TenantArtifacts) -> ConversationMedium:
    if isinstance(part, Media):
        return ConversationMedium((found.modality,), found.media)
    stored = artifacts.find(part.name)
    modalities = tuple(dict.fromkeys((stored.artifact.modality, found.modality)))
    return ConversationMedium(modalities, found.media, part.name, stored.chunks)


def _is_attachment(role: Role, part: Content) -> bool:
    """Return whether a part costs a probe or an encoding. Text and artifacts of the assistant do not."""
    return isinstance(part, Media) or (isinstance(part, ArtifactName) and role == "user")


def _media_of(attachment: Media | AdmittedMedia) -> Media:
    return attachment if isinstance(attachment, Media) else attachment.media


def _unsupported(message: str, modality: str, known: Collection[str]) -> RequestError:
    supported = ", ".join(known)
    return RequestError(
        f"{message}, only {supported or 'text'}",
        Reason.MODALITY_NOT_SUPPORTED,
        {"modality": modality, "supported": supported},
    )
