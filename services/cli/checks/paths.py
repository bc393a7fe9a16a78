"""Checks of the folders and files that a command writes when its work is complete."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from motet.core.errors import RequestError


def check_folder(folder: Path) -> None:
    """Raise `RequestError` unless new files can be written to a folder, which may not exist yet.

    The folder itself is not created: an answer without media needs none.
    """
    _check(folder, "choose another --out folder")


def check_file(file: Path) -> None:
    """Raise `RequestError` unless a file can be written. Its folders may not exist yet."""
    if os.path.isdir(file):
        raise RequestError(f"{file} cannot be written: it is a folder; name a file")
    if not os.path.exists(file):
        _check(file, "name another file")
    elif not os.access(file, os.W_OK):
        raise RequestError(f"{file} cannot be written: it is read-only; name another file")


def _check(path: Path, advice: str) -> None:
    """Create the missing parts of a path for a moment, within a new folder whose name no other process uses."""
    existing, missing = path, []
    while not os.path.lexists(existing):
        missing.append(existing.name)
        existing = existing.parent
    try:
        probe = Path(tempfile.mkdtemp(prefix=".motet-", dir=existing))
        try:
            probe.joinpath(*reversed(missing)).mkdir(parents=True, exist_ok=True)
        finally:
            shutil.rmtree(probe)
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror}; {advice}") from error
