"""The caller of the call that runs now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from motet.core.caller import Caller

_current: ContextVar[Caller] = ContextVar("motet_caller")


def current_caller() -> Caller:
    """Return the caller of the running call. Raises `LookupError` outside of a call that a server authenticated."""
    return _current.get()


@contextmanager
def called_by(caller: Caller) -> Iterator[None]:
    """Run the code of the context as a part of a call of this caller."""
    token = _current.set(caller)
    try:
        yield
    finally:
        _current.reset(token)


def holder_of(caller: Caller, context: Any) -> str:
    """Return the holder of a share of what callers share: a tenant, or the connection of an anonymous caller."""
    return f"tenant {caller.tenant}" if caller.tenant else str(context.peer())
