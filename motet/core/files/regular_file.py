"""The bytes of a regular file, up to a limit."""

from __future__ import annotations

import stat
from pathlib import Path

from motet.core.errors import SettingsError

MAX_BYTES = 64 * 2**20
"""Maximum size of a file in bytes, if its reader has no other limit."""


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


def read_file(path: Path, limit: int = MAX_BYTES, kind: str = "file") -> bytes:
    """Return the bytes of a file. Raises `SettingsError` for a file that is missing, not regular or above the limit.

    `limit` is in bytes. `kind` names what the error asks for, such as "PEM file".
    """
    try:
        data = read_beginning(path, limit)
    except NotRegularFileError:
        raise SettingsError(f"{path} is not a regular file; name a {kind}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{path} cannot be read: {reason}; name a {kind}") from error
    if len(data) > limit:
        raise SettingsError(f"{path} is larger than {limit} bytes; name a smaller {kind}")
    return data
