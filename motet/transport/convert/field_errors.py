"""Errors of values that do not fit the fields of a message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from motet.core.errors import RequestError


@contextmanager
def field_errors() -> Iterator[None]:
    """Raise `RequestError` if, inside the context, a value does not fit its field, such as invalid Unicode."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise RequestError(
            "the request cannot be sent: its text must be valid Unicode without lone surrogates, and its integers must "
            "be whole numbers of at most 64 bits"
        ) from error
