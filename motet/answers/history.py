"""The history of a conversation, within the limits of a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from motet.core.errors import NotFoundError, Reason, RequestError
from motet.core.events import Artifact
from motet.core.media import Media
from motet.core.request import ArtifactName, Content, Message
from motet.core.workers import Role

_LIMITS = (Reason.LIMIT_EXCEEDED, Reason.INPUT_TOO_LARGE)


@dataclass(frozen=True, slots=True)
class StoredMedia:
    """Media of a conversation, and their artifact on the server. The artifact may have expired."""

    media: Media
    artifact: Artifact | None = None

    def content(self, by_name: bool) -> Content:
        """Return the media for a request: the artifact's name, which is short, or the bytes, which never expire."""
        return ArtifactName(self.artifact.name) if by_name and self.artifact is not None else self.media


HistoryPart = str | StoredMedia


class History:
    """The exchanges of a conversation. An exchange is a prompt and its answer.

    A server limits a conversation's turns, attachments and bytes. A caller that gets an error sends `messages` again
    if `recover` returns True. `left_out` is the number of exchanges that were left out because of the limits.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._exchanges: list[tuple[Sequence[HistoryPart], Sequence[HistoryPart]]] = []
        self._first = 0
        """Index of the first exchange in the next request."""
        self._by_name = True

    def messages(self, prompt: Sequence[HistoryPart]) -> tuple[Message, ...]:
        """Return the messages of a request: the exchanges, then the prompt."""
        turns: list[tuple[Role, Sequence[HistoryPart]]] = []
        for asked, answered in self._exchanges[self._first :]:
            turns.append(("user", asked))
            if answered:
                turns.append(("assistant", answered))
        return tuple(self._message(role, parts) for role, parts in (*turns, ("user", prompt)))

    def add(self, prompt: Sequence[HistoryPart], answer: Sequence[HistoryPart]) -> None:
        """Add an exchange. Exchanges that the answered request left out are forgotten."""
        self.left_out += self._first
        self._exchanges = [*self._exchanges[self._first :], (prompt, answer)]
        self._reset_request()

    def recover(self, error: RequestError) -> bool:
        """Change the next request so that it avoids an error. Return False if that is not possible.

        If an artifact expired, the next request has the bytes of all media. If the request exceeds a limit, the next
        one leaves out the oldest exchange, then the two, four, ... next ones.
        """
        if isinstance(error, NotFoundError) and error.reason is Reason.ARTIFACT_NOT_FOUND and self._by_name:
            self._by_name = False
            return True
        if error.reason in _LIMITS and self._first < len(self._exchanges):
            self._first = min(len(self._exchanges), 2 * self._first + 1)
            return True
        self._reset_request()
        return False

    def artifacts(self) -> Iterator[Artifact]:
        """Yield the artifacts of all media."""
        for exchange in self._exchanges:
            for parts in exchange:
                for part in parts:
                    if isinstance(part, StoredMedia) and part.artifact is not None:
                        yield part.artifact

    def _message(self, role: Role, parts: Sequence[HistoryPart]) -> Message:
        return Message(role, tuple(p if isinstance(p, str) else p.content(self._by_name) for p in parts))

    def _reset_request(self) -> None:
        self._first = 0
        self._by_name = True
