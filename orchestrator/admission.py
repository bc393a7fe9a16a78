"""Decides whether a request can be served, and settles all it leaves open."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from motet.core.bundle import Manifest
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, NotFoundError, Reason, RequestError
from motet.core.events import TEXT
from motet.core.media import Media
from motet.core.request import PRIORITIES, ArtifactName, GenerationRequest, Message
from orchestrator.artifact_store import ArtifactStore
from orchestrator.generation.admitted_request import AdmittedMedia, AdmittedRequest, AdmittedTurn
from orchestrator.settings import OrchestratorSettings

SEEDS = 2**64
HIGHEST_TEMPERATURE = 5.0
MOST_STEPS = 1000
HIGHEST_GUIDANCE = 50.0
LONGEST_TENANT = 64


class Probed(Protocol):
    """What some bytes proved to be."""

    @property
    def media_type(self) -> str: ...

    @property
    def modality(self) -> str: ...


Probe = Callable[[bytes, str], Awaitable[Probed]]
"""Finds out what bytes are, given what they are declared to be, "" for nothing. Raises `MediaError`."""


class Admission:
    """Turns requests into orders, or raises `RequestError`, telling what to change; nothing was done then."""

    def __init__(
        self,
        manifest: Manifest,
        makes: Collection[str],
        artifacts: ArtifactStore,
        probe: Probe,
        settings: OrchestratorSettings,
    ) -> None:
        self._manifest = manifest
        self._makes = makes
        self._artifacts = artifacts
        self._probe = probe
        self._settings = settings

    async def admit(self, request: GenerationRequest) -> AdmittedRequest:
        """The order of a request. Its deadline runs from now, and comes a little before the caller's."""
        self._check_model(request.model)
        self._check_turns(request.turns)
        self._check_numbers(request)
        for named in (request.allowed_modalities or (), request.max_parts, request.decoder_options):
            self._check_modalities(named)
        deadline = self._deadline(request.timeout)
        try:
            async with asyncio.timeout(deadline.remaining()):
                turns = await self._ordered(request.turns)
        except TimeoutError as error:
            raise DeadlineError("the deadline passed while the media were looked at; allow more time") from error
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
        )

    async def recognise(self, media: Media) -> AdmittedMedia:
        """Media of unknown origin, as what their bytes prove to be. Raises `MediaError`."""
        size, limit = len(media.data), self._settings.max_media_bytes
        if size > limit:
            raise _too_large("a piece of media", size, limit)
        probed = await self._probe(media.data, media.media_type)
        self._check_readable(probed.modality)
        return AdmittedMedia(probed.modality, Media(probed.media_type, media.data))

    def _check_model(self, model: str) -> None:
        name = self._manifest.name
        if model not in ("", name):
            raise NotFoundError(
                f"there is no model called {model!r} here; ask for {name!r} or for none",
                Reason.MODEL_NOT_FOUND,
                {"model": model, "supported": name},
            )

    def _check_turns(self, turns: tuple[Message, ...]) -> None:
        if not turns or turns[-1].role != "user":
            raise RequestError("the last turn must be the user's: end the conversation with what is to be answered")
        if not any(not isinstance(part, str) or part.strip() for part in turns[-1].parts):
            raise RequestError("the prompt is empty: write some text or attach media")
        _check_count("turns in a conversation", len(turns), self._settings.max_turns)
        for turn in turns:
            _check_count("parts in a turn", len(turn.parts), self._settings.max_turn_parts)
            for part in turn.parts:
                if isinstance(part, str):
                    self._check_text(part)
        media = sum(not isinstance(part, str) for turn in turns for part in turn.parts)
        _check_count("pieces of media in a conversation", media, self._settings.max_input_media)

    def _check_text(self, text: str) -> None:
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            raise RequestError("a piece of text is not valid Unicode: it holds half of a surrogate pair") from error
        if size > self._settings.max_text_bytes:
            raise _too_large("a piece of text", size, self._settings.max_text_bytes)

    def _check_numbers(self, request: GenerationRequest) -> None:
        _check_range("seed", request.seed, 0, SEEDS - 1)
        _check_range("temperature", request.temperature, 0, HIGHEST_TEMPERATURE)
        _check_range("top_p", request.top_p, 0, 1)
        _check_range("priority", request.priority, PRIORITIES[0], PRIORITIES[-1])
        _check_count("characters in a tenant's name", len(request.tenant), LONGEST_TENANT)
        _check_range("max_output_tokens", request.max_output_tokens, 1, math.inf)
        for modality, count in request.max_parts.items():
            _check_range(f"max_parts of {modality}", count, 0, math.inf)
        for modality, options in request.decoder_options.items():
            _check_range(f"steps of {modality}", options.steps, 1, MOST_STEPS)
            _check_range(f"least steps of {modality}", options.min_steps, 1, MOST_STEPS)
            _check_range(f"guidance of {modality}", options.guidance, 1, HIGHEST_GUIDANCE)
        if request.timeout is not None and not request.timeout > 0:
            raise RequestError(f"timeout must be more than 0 seconds, not {request.timeout}")

    def _check_modalities(self, named: Collection[str]) -> None:
        for modality in named:
            if modality != TEXT and modality not in self._makes:
                raise _unsupported(f"{self._manifest.name} does not make {modality!r}", modality, self._makes)

    def _check_readable(self, modality: str) -> None:
        readable = self._manifest.encoder.modalities
        if modality not in readable:
            raise _unsupported(f"{self._manifest.name} does not read {modality!r}", modality, readable)

    def _ceilings(self, request: GenerationRequest) -> dict[str, int]:
        most = self._settings.max_parts_each
        return {
            modality: min(most, request.max_parts.get(modality, most))
            for modality in self._makes
            if request.allowed_modalities is None or modality in request.allowed_modalities
        }

    def _max_tokens(self, asked: int | None) -> int:
        bounds = (asked, self._settings.max_output_tokens, self._manifest.language_model.max_tokens)
        return min(bound for bound in bounds if bound is not None)

    def _deadline(self, timeout: float | None) -> Deadline:
        seconds = min(self._settings.max_duration, timeout or math.inf)
        # Telling the end takes time too; a caller in a hurry loses a fifth of its time to that, no more.
        return Deadline.after(seconds - min(self._settings.deadline_margin, seconds / 5))

    async def _ordered(self, turns: tuple[Message, ...]) -> tuple[AdmittedTurn, ...]:
        ordered, size = [], 0
        for turn in turns:
            parts: list[str | AdmittedMedia] = []
            for part in turn.parts:
                found = part if isinstance(part, str) else await self._attached(part)
                parts.append(found)
                size += len(found.media.data) if isinstance(found, AdmittedMedia) else 0
                if size > self._settings.max_input_bytes:
                    raise _too_large("the media of a conversation", size, self._settings.max_input_bytes)
            ordered.append(AdmittedTurn(turn.role, tuple(parts)))
        return tuple(ordered)

    async def _attached(self, part: Media | ArtifactName) -> AdmittedMedia:
        if isinstance(part, Media):
            return await self.recognise(part)
        kept = self._artifacts.find(part.name)
        self._check_readable(kept.artifact.modality)
        return AdmittedMedia(kept.artifact.modality, Media(kept.artifact.media_type, b"".join(kept.chunks)))


def _check_count(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise RequestError(
            f"{count} {what} are more than the {limit} that are allowed; send fewer",
            Reason.LIMIT_EXCEEDED,
            {"count": str(count), "limit": str(limit)},
        )


def _check_range(what: str, value: float | None, lowest: float, highest: float) -> None:
    if value is not None and not lowest <= value <= highest:
        bounds = f"at least {lowest:g}" if highest == math.inf else f"from {lowest} to {highest}"
        raise RequestError(f"{what} must be {bounds}, not {value}", metadata={"field": what, "value": str(value)})


def _too_large(what: str, size: int, limit: int) -> RequestError:
    return RequestError(
        f"{what} takes {size} bytes; at most {limit} are allowed",
        Reason.INPUT_TOO_LARGE,
        {"size": str(size), "limit": str(limit)},
    )


def _unsupported(message: str, modality: str, known: Collection[str]) -> RequestError:
    supported = ", ".join(known)
    return RequestError(
        f"{message}, only {supported or 'text'}",
        Reason.MODALITY_NOT_SUPPORTED,
        {"modality": modality, "supported": supported},
    )
