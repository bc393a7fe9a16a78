"""The records of API keys, as JSON lines. A record has the digest of a key, and never the key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from motet.core.caller import QUOTA_CLASS, Caller, Role, check_tenant
from motet.core.errors import SettingsError
from motet.core.files.field_errors import message_of
from motet.core.request import PRIORITIES
from motet.transport.access.api_key import KEY_ID

MAX_RECORDS = 100_000
"""Maximum number of records in a file. Reading them takes about a second."""

MAX_NAMED = 100
"""Maximum number of keys of each kind of change that the audit line of a change names."""


def _checked_tenant(name: str) -> str:
    check_tenant(name)
    return name


class KeyRecord(BaseModel):
    """The record of one API key. A list that is null permits everything."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: Annotated[str, Field(pattern=f"^{KEY_ID.pattern}$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    tenant: Annotated[str, Field(min_length=1), AfterValidator(_checked_tenant)]
    roles: Annotated[frozenset[Literal[Role.GENERATE, Role.READ, Role.OPERATE]], Field(min_length=1)]
    models: frozenset[str] | None = None
    modalities: frozenset[str] | None = None
    max_priority: Annotated[int, Field(ge=PRIORITIES[0], le=PRIORITIES[-1])] = PRIORITIES[-1]
    quota_class: Annotated[str, Field(pattern=QUOTA_CLASS)] = ""
    create_time: AwareDatetime
    expire_time: AwareDatetime | None = None
    revoke_time: AwareDatetime | None = None

    def is_expired(self, now: datetime) -> bool:
        """Return whether the key is no longer valid at a time."""
        return self.expire_time is not None and now >= self.expire_time

    def caller(self) -> Caller:
        """Return the caller that has the key."""
        return Caller(
            self.tenant,
            frozenset(self.roles),
            self.models,
            self.modalities,
            self.max_priority,
            self.expire_time.timestamp() if self.expire_time else None,
            f"key {self.id}",
            self.quota_class,
        )


def parse_records(data: bytes, label: str) -> dict[str, KeyRecord]:
    """Return the records by id, in order. Raises `SettingsError`, which names the file by `label` and the line."""
    records: dict[str, KeyRecord] = {}
    lines = data.splitlines()
    if len(lines) > MAX_RECORDS:
        raise SettingsError(f"{label} has more than {MAX_RECORDS} keys; remove those that are revoked or expired")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = KeyRecord.model_validate_json(line)
        except ValidationError as error:
            raise SettingsError(f"line {number} of {label} is not a record of a key: {_advice(error)}") from None
        if record.id in records:
            raise SettingsError(
                f"line {number} of {label} has the id {record.id} of an earlier line; remove one of them"
            )
        records[record.id] = record
    return records


def format_records(records: Mapping[str, KeyRecord] | Iterable[KeyRecord]) -> bytes:
    """Return the records as JSON lines."""
    listed = records.values() if isinstance(records, Mapping) else records
    return b"".join(record.model_dump_json(exclude_none=True).encode() + b"\n" for record in listed)


def changes_of(old: Mapping[str, KeyRecord], new: Mapping[str, KeyRecord]) -> Mapping[str, object]:
    """Return the ids of the keys that were added, revoked, changed otherwise or removed, for the audit log.

    A kind of change without a key is absent. Of each kind, the first `MAX_NAMED` ids are there, and then their number.
    """
    kept = [record for key_id, record in new.items() if key_id in old and record != old[key_id]]
    revoked = [record.id for record in kept if record.revoke_time and not old[record.id].revoke_time]
    changes = {
        "added": [key_id for key_id in new if key_id not in old],
        "revoked": revoked,
        "changed": [record.id for record in kept if record.id not in set(revoked)],
        "removed": [key_id for key_id in old if key_id not in new],
    }
    return {kind: _shortened(ids) for kind, ids in changes.items() if ids}


def _shortened(ids: Sequence[str]) -> Sequence[str]:
    return ids if len(ids) <= MAX_NAMED else [*ids[:MAX_NAMED], f"{len(ids)} in all"]


def _advice(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    message = message_of(first, KeyRecord)
    return f"{place}: {message}" if place else message
