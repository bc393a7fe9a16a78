"""The history of a conversation: its turns and their media."""

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
    """Media of a conversation, and their artifact on the server. The artifact may have expired."""

    media: Media
    artifact: Artifact | None = None

    def content(self, by_name: bool) -> Content:
        """Return the media for a request: the artifact's name, which is short, or the bytes, which never expire."""
        return ArtifactName(self.artifact.name) if by_name and self.artifact is not None else self.media


@dataclass(frozen=True, slots=True)
class _Turn:
    role: Role
    parts: tuple[str | StoredMedia, ...]

    def message(self, by_name: bool) -> Message:
        return Message(self.role, tuple(p if isinstance(p, str) else p.content(by_name) for p in self.parts))


class Conversation:
    """The turns of a conversation, and the attachments of its next turn."""

    def __init__(self) -> None:
        self._turns: list[_Turn] = []
        self._attached: list[StoredMedia] = []
        self._by_name = True

    async def attach(self, attachment: Attachment, motet: Motet) -> Artifact:
        """Attach a file to the next turn. Raises `MediaError` for a file that cannot be read."""
        artifact = await attachment.upload(motet)
        self._attached.append(StoredMedia(attachment.media, artifact))
        return artifact

    def messages(self, prompt: str) -> tuple[Message, ...]:
        """Return the messages of a request: all turns, then the prompt with its attachments."""
        next_turn = _Turn("user", self._parts(prompt))
        return tuple(turn.message(self._by_name) for turn in (*self._turns, next_turn))

    def resend_media(self, error: NotFoundError) -> bool:
        """Return whether a retry can help because an artifact expired. The retry then sends all media as bytes."""
        if error.reason is not Reason.ARTIFACT_NOT_FOUND or not self._by_name:
            return False
        self._by_name = False
        return True

    def add_turns(self, prompt: str, delivery: Delivery) -> None:
        """Add the user's turn and the answer to the history."""
        self._turns.append(_Turn("user", self._parts(prompt)))
        self._attached.clear()
        self._by_name = True
        parts = tuple(_stored(part) for part in delivery.parts if part)
        if parts:
            self._turns.append(_Turn("assistant", parts))

    async def reset(self, motet: Motet) -> None:
        """Start a new conversation, and delete the artifacts of the old one."""
        parts: Iterable[str | StoredMedia] = [part for turn in self._turns for part in turn.parts] + [*self._attached]
        for part in parts:
            if isinstance(part, StoredMedia) and part.artifact is not None:
                with suppress(NotFoundError):
                    await motet.delete(part.artifact.name)
        self._turns.clear()
        self._attached.clear()

    def _parts(self, prompt: str) -> tuple[str | StoredMedia, ...]:
        # The media come before the text, as in the training data.
        return (*self._attached, prompt) if prompt or not self._attached else tuple(self._attached)


def _stored(part: str | SavedMedia) -> str | StoredMedia:
    return part if isinstance(part, str) else StoredMedia(part.media, part.artifact)
