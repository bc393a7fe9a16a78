"""A check of the media of a load: each one is complete, decodes, and has the size and length of its modality."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from motet.core.errors import MediaError
from motet.core.media import Media, joined, sha256_of
from motet.media.decode import ProbeResult, probe
from services.benchmarks.load.client_trace import ClientTrace, PartTrace


class MediaCheck:
    """A check of media after their requests have ended, so that it takes no time of the measured server.

    The first medium of each modality sets the size and the length. Equal media are decoded once. The bytes of toys are
    no media: without `decodes`, only the digests are checked.
    """

    def __init__(self, decodes: bool = True) -> None:
        self._decodes = decodes
        self._facts: dict[str, ProbeResult] = {}
        self._faults: dict[tuple[str, bytes], str] = {}

    async def check(self, traces: Iterable[ClientTrace]) -> None:
        """Set `media_fault` of each request of which a complete part has wrong media. Drop the bytes of all parts."""
        for trace in traces:
            for part in trace.media:
                if part.finished is not None and not trace.media_fault:
                    trace.media_fault = await self._fault(part)
                part.chunks.clear()

    async def _fault(self, part: PartTrace) -> str:
        media = Media(part.media_type, await joined(part.chunks))
        if await sha256_of(media) != part.sha256:
            return f"the {part.modality} part has other bytes than its digest says"
        if not self._decodes:
            return ""
        key = part.modality, part.sha256
        if key not in self._faults:
            self._faults[key] = await self._decode(part.modality, media)
        return self._faults[key]

    async def _decode(self, modality: str, media: Media) -> str:
        try:
            found = replace(await probe(media), media_type="")
        except MediaError as error:
            return f"the {modality} part does not decode: {error.message}"
        expected = self._facts.setdefault(modality, found)
        return "" if found == expected else f"the {modality} part has another size or length than the first one"
