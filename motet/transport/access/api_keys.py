"""API keys: a caller proves its key, and the server knows only the digest of each key."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from motet.core.caller import Caller, Role
from motet.transport.access.api_key import digest_of, key_id_of
from motet.transport.access.key_records import KeyRecord
from motet.transport.access.outcome import Outcome, RefusedError

_UNKNOWN = KeyRecord(
    id="0" * 12,
    sha256="0" * 64,
    tenant="unknown",
    roles=frozenset({Role.READ}),
    create_time=datetime.fromtimestamp(0, UTC),
    expire_time=datetime.fromtimestamp(0, UTC),
    revoke_time=datetime.fromtimestamp(0, UTC),
)
"""The record in place of one that does not exist, so that an unknown id takes the time of a known one."""


class ApiKeys:
    """Authenticates API keys. `records` returns the current records by the id of their keys."""

    def __init__(self, records: Callable[[], Mapping[str, KeyRecord]]) -> None:
        self._records = records

    def caller_of(self, key: str) -> Caller:
        """Return the caller of a key. Raises `RefusedError` for a key that is not valid."""
        key_id = key_id_of(key)
        if key_id is None:
            raise RefusedError(Outcome.MALFORMED)
        record = self._records().get(key_id, _UNKNOWN)
        matches = hmac.compare_digest(digest_of(key), bytes.fromhex(record.sha256))
        refusal = _refusal(record, matches)
        if refusal is not None:
            raise RefusedError(refusal, f"key {key_id}")
        return record.caller()


def _refusal(record: KeyRecord, matches: bool) -> Outcome | None:
    """Return the reason to refuse a key, or None. All checks are made for every key, so all keys take the same time."""
    checks = (
        (record is _UNKNOWN, Outcome.UNKNOWN_KEY),
        (not matches, Outcome.WRONG_SECRET),
        (record.revoke_time is not None, Outcome.REVOKED),
        (record.is_expired(datetime.now(UTC)), Outcome.EXPIRED),
    )
    return next((outcome for failed, outcome in checks if failed), None)
