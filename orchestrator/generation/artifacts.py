"""The store of finished media, as a pipeline needs it."""

from __future__ import annotations

from typing import Protocol

from motet.core.events import Artifact
from motet.core.media import Media


class Artifacts(Protocol):
    """The finished media of one tenant."""

    @property
    def size_bytes(self) -> int:
        """The total size of the media, in bytes."""
        ...

    async def keep(self, modality: str, media: Media) -> tuple[Artifact, tuple[bytes, ...]]:
        """Store media. Return the artifact, and its bytes in chunks unless they are too large for events."""
        ...
