"""A check of the media of a load: each one is complete, decodes, and has the size and length of its modality."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

from motet.core.errors import MediaError
from motet.core.media import Media
from motet.media.decode import ProbeResult, probe
from services.benchmarks.load.client_trace import ClientTrace, PartTrace


class MediaCheck:
    """A check of media after their requests have ended, so that it takes no time of the measured server.

    The first medium of each modality sets the size and the length. Equal media are decoded once.
    """

    def __init__(self) -> None:
        self._facts: dict[str, ProbeResult] = {}
        self._faults: dict[tuple[str, bytes], str] = {}

    async def check(self, traces: Iterable[ClientTrace]) -> None:
        """Set `media_fault` of each request of which a complete part has wrong media. Drop the content of all parts."""
        for trace in traces:
            for part in trace.media:
                if part.finished is not None and not trace.media_fault:
                    trace.media_fault = await self._fault(part)
                part.content.clear()

    async def _fault(self, part: PartTrace) -> str:
        digest = await asyncio.to_thread(lambda: sha256(part.content).digest())
        if digest != part.sha256:
            return f"the {part.modality} part has other bytes than its digest says"
        key = part.modality, digest
        if key not in self._faults:
            self._faults[key] = await self._decode(part)
        return self._faults[key]

    async def _decode(self, part: PartTrace) -> str:
        try:
            found = replace(await probe(Media(part.media_type, bytes(part.content))), media_type="")
        except MediaError as error:
            return f"the {part.modality} part does not decode: {error.message}"
        expected = self._facts.setdefault(part.modality, found)
        return "" if found == expected else f"the {part.modality} part has another size or length than the first one"
