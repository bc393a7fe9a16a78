"""Checks of the limits of one request."""

from __future__ import annotations

from motet.core.errors import Reason, RequestError


def check_count(what: str, count: int, limit: int) -> None:
    """Raise `RequestError` if there are more than `limit` of something."""
    if count > limit:
        raise RequestError(
            f"{count} {what} are more than the {limit} that are allowed; send fewer",
            Reason.LIMIT_EXCEEDED,
            {"count": str(count), "limit": str(limit)},
        )


def check_bytes(what: str, size: int, limit: int) -> None:
    """Raise `RequestError` if something has more than `limit` bytes."""
    if size > limit:
        raise RequestError(
            f"{what} may have at most {limit} bytes, not {size}",
            Reason.INPUT_TOO_LARGE,
            {"size": str(size), "limit": str(limit)},
        )
