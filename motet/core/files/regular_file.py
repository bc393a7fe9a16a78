"""The bytes of a regular file, up to a limit."""

from __future__ import annotations

import stat
from pathlib import Path


class NotRegularFileError(OSError):
    """A path that is a folder, a pipe or a device."""


def read_beginning(path: Path, limit: int) -> bytes:
    """Return at most `limit` + 1 bytes of a regular file: one more than the limit shows that the file is larger.

    Raises `NotRegularFileError` for another kind of file, which is not opened, and `OSError` for one that cannot be
    read.
    """
    # Opening a pipe would wait for a writer.
    if not stat.S_ISREG(path.stat().st_mode):
        raise NotRegularFileError
    with path.open("rb") as file:
        return file.read(limit + 1)
