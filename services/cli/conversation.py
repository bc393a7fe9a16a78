"""The conversation of `motet chat`: its history, and the attachments of its next turn."""

from __future__ import annotations

from contextlib import suppress

from motet.answers.history import History, StoredMedia
from motet.answers.options import user_parts
from motet.core.errors import NotFoundError, RequestError
from motet.core.events import Artifact
from motet.core.request import Message
from motet.core.service import Motet
from services.cli.attachment import Attachment
from services.cli.deliver import Delivery
from services.terminal import print_status


class ChatConversation:
    """The turns of a conversation, and the attachments of its next turn."""

    def __init__(self) -> None:
        self._history = History()
        self._attached: list[StoredMedia] = []

    async def attach(self, attachment: Attachment, motet: Motet) -> Artifact:
        """Attach a file to the next turn. Raises `MediaError` for a file that cannot be read."""
        artifact = await attachment.upload(motet)
        self._attached.append(StoredMedia(attachment.media, artifact))
        return artifact

    def messages(self, prompt: str) -> tuple[Message, ...]:
        """Return the messages of a request: all turns, then the prompt with its attachments."""
        return self._history.messages(user_parts(prompt, self._attached))

    def recover(self, error: RequestError) -> bool:
        """Return whether a retry can succeed, because it sends expired media as bytes or leaves out old exchanges."""
        return self._history.recover(error)

    def add_turns(self, prompt: str, delivery: Delivery) -> None:
        """Add the user's turn and the answer to the history."""
        complete = self._history.left_out == 0
        answer = [part if isinstance(part, str) else StoredMedia(part.media, part.artifact) for part in delivery.parts]
        self._history.add(user_parts(prompt, self._attached), [part for part in answer if part])
        self._attached.clear()
        if complete and self._history.left_out:
            print_status("the conversation reached the server's limits: its oldest exchanges are left out from now on")

    async def reset(self, motet: Motet) -> None:
        """Start a new conversation, and delete the artifacts of the old one."""
        attached = [media.artifact for media in self._attached if media.artifact is not None]
        for artifact in (*self._history.artifacts(), *attached):
            with suppress(NotFoundError):
                await motet.delete(artifact.name)
        self._history = History()
        self._attached.clear()
