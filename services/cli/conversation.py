"""What was said and shown so far, by both sides."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from motet.core.errors import NotFoundError, Reason
from motet.core.events import Artifact
from motet.core.media import Media
from motet.core.request import ArtifactName, Content, Message
from motet.core.service import Motet
from motet.core.workers import Role
from services.cli.attachment import Attachment
from services.cli.deliver import Delivery
from services.cli.screens.screen import SavedMedia


@dataclass(frozen=True, slots=True)
class StoredMedia:
    """Media of a conversation. The server may still hold them too, as an artifact."""

    media: Media
    artifact: Artifact | None = None

    def content(self, by_name: bool) -> Content:
        """How they are given back: by name, which is short, or as bytes, which never expire."""
        return ArtifactName(self.artifact.name) if by_name and self.artifact is not None else self.media


@dataclass(frozen=True, slots=True)
class _Turn:
    role: Role
    parts: tuple[str | StoredMedia, ...]

    def message(self, by_name: bool) -> Message:
        return Message(self.role, tuple(p if isinstance(p, str) else p.content(by_name) for p in self.parts))


class Conversation:
    """The turns so far, and what is attached to the next one."""

    def __init__(self) -> None:
        self._turns: list[_Turn] = []
        self._attached: list[StoredMedia] = []
        self._by_name = True

    async def attach(self, attachment: Attachment, motet: Motet) -> Artifact:
        """Show a file with the next turn. Raises `MediaError` at once for what cannot be read."""
        artifact = await attachment.upload(motet)
        self._attached.append(StoredMedia(attachment.media, artifact))
        return artifact

    def messages(self, text: str) -> tuple[Message, ...]:
        """The whole conversation, with what a person says next."""
        said = _Turn("user", self._next(text))
        return tuple(turn.message(self._by_name) for turn in (*self._turns, said))

    def forgotten(self, error: NotFoundError) -> bool:
        """Whether asking again can help: the server has forgotten media, which from now on are given as bytes."""
        if error.reason is not Reason.ARTIFACT_NOT_FOUND or not self._by_name:
            return False
        self._by_name = False
        return True

    def answered(self, text: str, delivery: Delivery) -> None:
        """Both turns are over: they are history."""
        self._turns.append(_Turn("user", self._next(text)))
        self._attached.clear()
        self._by_name = True
        answer = tuple(_kept(part) for part in delivery.parts if part)
        if answer:
            self._turns.append(_Turn("assistant", answer))

    async def reset(self, motet: Motet) -> None:
        """Start anew; what was uploaded is deleted."""
        parts: Iterable[str | StoredMedia] = [part for turn in self._turns for part in turn.parts] + [*self._attached]
        for part in parts:
            if isinstance(part, StoredMedia) and part.artifact is not None:
                with suppress(NotFoundError):
                    await motet.delete(part.artifact.name)
        self._turns.clear()
        self._attached.clear()

    def _next(self, text: str) -> tuple[str | StoredMedia, ...]:
        # The media first, as the model was taught, then what is said about them.
        return (*self._attached, text) if text or not self._attached else tuple(self._attached)


def _kept(part: str | SavedMedia) -> str | StoredMedia:
    return part if isinstance(part, str) else StoredMedia(part.media, part.artifact)
