"""Errors of values that do not fit the fields of a message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from motet.core.errors import RequestError


@contextmanager
def field_errors() -> Iterator[None]:
    """Raise `RequestError` if, inside the context, a number does not fit its field or a text is not valid Unicode."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise RequestError(
            "the request cannot be sent: a seed must be from 0 to 2**64 - 1, other integers must fit 32 bits, "
            "and text must be valid Unicode without lone surrogates"
        ) from error
