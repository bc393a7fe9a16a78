"""The id of the request that the running code works for. It is on every log line, in every process.

A request's id is `GenerateRequest.request_id`, or else the one that its caller sends beside the request, or else a new
one. It goes along with each call to a worker.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_VALID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_CURRENT: ContextVar[str] = ContextVar("request_id", default="")

current_request_id = _CURRENT.get
"""Return the id of the current request, or "" outside a request. Tasks inherit the id of the task that creates them."""

set_request_id = _CURRENT.set
"""Set the id of the current task's request."""


def checked_request_id(given: str) -> str:
    """Return an id from a caller, or a new one if it is not 1 to 128 letters, digits and `.`, `_`, `:`, `-`."""
    return given if _VALID.fullmatch(given) else secrets.token_hex(16)


@contextmanager
def request_id_set(request_id: str) -> Iterator[None]:
    """Set the id of the current request within the context."""
    token = _CURRENT.set(request_id)
    try:
        yield
    finally:
        _CURRENT.reset(token)
