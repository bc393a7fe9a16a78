"""Changes of the file of API keys: each is complete or has no effect, also beside other changes at the same time."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from motet.core.errors import RequestError, SettingsError
from motet.core.files.regular_file import read_file
from motet.transport.access.key_records import KeyRecord, format_records, parse_records

_Records = dict[str, KeyRecord]


def read_records(path: Path) -> _Records:
    """Return the records in a file by id. Raises `SettingsError` for a file that is missing or broken."""
    return parse_records(read_file(path), str(path))


def add_record(path: Path, record: KeyRecord) -> None:
    """Append a record. Create the file, which only its owner can read, if it is missing. Raises `SettingsError`."""
    _change(path, lambda records: records.setdefault(record.id, record), create=True)


def revoke(path: Path, key_id: str, time: datetime) -> KeyRecord:
    """Set the revocation time of a key, and return its record. A key that is revoked keeps its first time.

    Raises `RequestError` for an unknown id, and `SettingsError` for a file that is missing or broken.
    """

    def change(records: _Records) -> None:
        if key_id not in records:
            raise RequestError(
                f"{path} has no key with the id {key_id!r}; `motet keys list` prints the ids", metadata={"id": key_id}
            )
        record = records[key_id]
        records[key_id] = record.model_copy(update={"revoke_time": record.revoke_time or time})

    return _change(path, change)[key_id]


def _change(path: Path, change: Callable[[_Records], object], create: bool = False) -> _Records:
    try:
        with _locked(path):
            records = {} if create and not path.exists() else read_records(path)
            change(records)
            _replace(path, format_records(records))
    except (OSError, RuntimeError) as error:
        # A loop of links is a `RuntimeError`.
        reason = getattr(error, "strerror", None) or "it is a link to itself"
        raise SettingsError(f"{path} cannot be written: {reason}; name another file") from error
    return records


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other process changes a file of this folder."""
    # The folder itself is locked: a lock of the file would end when the file is replaced.
    descriptor = os.open(path.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes) -> None:
    """Replace the contents of a file. A reader sees the old contents or the new ones, never a part.

    A new file can be read by its owner only. An old file keeps its owner and its permissions.
    """
    target = path.resolve()
    descriptor, draft = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _keep_permissions(target, file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(draft)
        raise


def _keep_permissions(old: Path, descriptor: int) -> None:
    with suppress(FileNotFoundError):
        found = old.stat()
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode))
        # Only root may give a file to another user. The service may run as that user.
        with suppress(PermissionError):
            os.fchown(descriptor, found.st_uid, found.st_gid)
