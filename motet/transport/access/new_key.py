"""A new API key and its record."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from motet.core.errors import RequestError
from motet.transport.access.api_key import create_key, digest_of, key_id_of
from motet.transport.access.key_records import KeyRecord


def new_key(**permissions: Any) -> tuple[str, KeyRecord]:
    """Return a new key, and its record with these fields. Raises `RequestError`, which names a wrong field."""
    key = create_key()
    try:
        record = KeyRecord.model_validate({"id": key_id_of(key), "sha256": digest_of(key).hex(), **permissions})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0])
        raise RequestError(f"{field} is wrong: {first['msg']}", metadata={"field": field}) from None
    return key, record
