"""What no message can hold is the caller's to change, and is told so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from motet.core.errors import RequestError


@contextmanager
def fitting() -> Iterator[None]:
    """Within, a number that does not fit its field, or text that is not Unicode, raises `RequestError`."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise RequestError(
            "the request cannot be sent: a seed is from 0 to 2**64 - 1, other whole numbers have 32 bits, "
            "and text must be valid Unicode without lone surrogates"
        ) from error
