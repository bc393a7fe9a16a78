"""Checks of the files that a command reads, and of the folders and files that it writes when its work is complete."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from motet.core.errors import RequestError


def check_input(file: Path) -> None:
    """Raise `RequestError` unless a file can be read. A pipe, such as a shell's <(command), is a file."""
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        raise RequestError(f"{file} is not a file: it does not exist; name an existing file") from None
    except OSError as error:
        raise RequestError(f"{file} cannot be read: {error.strerror}; name another file") from error
    if stat.S_ISDIR(mode):
        raise RequestError(f"{file} is not a file: it is a folder; name a file in it")
    # Other devices may never end.
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise RequestError(f"{file} is not a file: it is a device; name a file")
    if not os.access(file, os.R_OK):
        raise RequestError(f"{file} cannot be read: you lack the permission; name another file")


def check_input_folder(folder: Path) -> None:
    """Raise `RequestError` unless a folder exists."""
    # Unlike Path.is_dir, os.path.isdir returns False for a name that no folder can have.
    if not os.path.isdir(folder):
        raise RequestError(f"{folder} is not a folder: name an existing folder")


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
