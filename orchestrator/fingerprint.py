"""Fingerprints of requests, to detect that a request id was reused for another request."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from motet.core.media import Media
from motet.core.request import GenerationRequest, Message


def fingerprint(request: GenerationRequest) -> bytes:
    """Return 32 bytes that are equal for requests that are equal except for their timeouts."""
    plain = replace(
        request,
        turns=(),
        timeout=None,
        allowed_modalities=None,
        max_parts=dict(sorted(request.max_parts.items())),
        decoder_options=dict(sorted(request.decoder_options.items())),
    )
    allowed = None if request.allowed_modalities is None else sorted(request.allowed_modalities)
    content = (plain, allowed, [_turn(turn) for turn in request.turns])
    return sha256(repr(content).encode("utf-8", "backslashreplace")).digest()


def _turn(turn: Message) -> tuple[object, ...]:
    """Return the turn with the digests of its media in place of their bytes."""
    return (turn.role, [(part.media_type, part.sha256) if isinstance(part, Media) else part for part in turn.parts])
