"""Fields of a log line that is written later: code that works for a part of a request adds what it knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LogFields = dict[str, str]

_CURRENT: ContextVar[LogFields | None] = ContextVar("log_fields", default=None)


@contextmanager
def collected(fields: LogFields) -> Iterator[None]:
    """Add the fields of `add_field` to `fields` within the context, and in tasks that are created there."""
    token = _CURRENT.set(fields)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def add_field(name: str, value: str) -> None:
    """Add a field to the line that is being prepared. Do nothing if there is none. A later value replaces it."""
    fields = _CURRENT.get()
    if fields is not None:
        fields[name] = value
