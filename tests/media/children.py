"""A count of all child processes that Python starts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_started: list[str] = []


def _count(event: str, arguments: tuple[object, ...]) -> None:
    if event == "subprocess.Popen":
        _started.append(str(arguments[0]))


sys.addaudithook(_count)  # A hook cannot be removed.


@contextmanager
def children_started() -> Iterator[list[str]]:
    """Collect the executables of the child processes that start in the block."""
    before = len(_started)
    children: list[str] = []
    try:
        yield children
    finally:
        children.extend(_started[before:])
