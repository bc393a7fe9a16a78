"""The folder of an answer's files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO, Self

from motet.core.errors import RequestError

_NUMBERED = re.compile(r"^(\d+)-")
_SAFE = re.compile(r"^[a-z0-9_]{1,32}$")
# Media subtype -> the usual file suffix, if the two differ.
_SUFFIXES = {"mpeg": "mp3", "octet-stream": "bin", "plain": "txt"}


class OutputFolder:
    """A folder of numbered files, "01-MODALITY.png" and so on, in the order of the answer.

    Numbers continue after the highest number in the folder, so no file is ever overwritten. A reservation claims its
    number with a hidden draft, so concurrent writers of one folder get different numbers. A file gets its name only
    when it is complete. Each method raises `RequestError` if the folder or a file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._drafts: dict[Path, BinaryIO] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def reserve(self, modality: str, media_type: str) -> Path:
        """Return the path of the next file. Create the folder if it does not exist."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            number, draft = self._claim()
        except OSError as error:
            raise RequestError(f"{self.path} cannot be used: {error.strerror}; choose another folder") from error
        path = self.path / file_name(number, modality, media_type)
        self._drafts[path] = draft
        return path

    def write(self, path: Path, content: bytes) -> None:
        """Write a file to a reserved path."""
        draft = self._drafts.pop(path)
        try:
            with draft:
                draft.write(content)
            _publish(Path(draft.name), path)
        except OSError as error:
            raise RequestError(f"{path} cannot be written: {error.strerror}; choose another folder") from error
        finally:
            _discard(draft)

    def save(self, modality: str, media_type: str, content: bytes) -> Path:
        """Write the next file and return its path."""
        path = self.reserve(modality, media_type)
        self.write(path, content)
        return path

    def release(self) -> None:
        """Release all reserved paths that were not written."""
        while self._drafts:
            _discard(self._drafts.popitem()[1])

    def _claim(self) -> tuple[int, BinaryIO]:
        """Return the next free number and the open draft that claims it."""
        number = self._highest()
        while True:
            number += 1
            try:
                # Exclusive creation never opens an existing file, and never follows a symbolic link.
                draft = (self.path / f".{number:02}.part").open("xb")
            except FileExistsError:
                continue
            # Another process may have written the file of this number after the folder was listed.
            if (highest := self._highest()) < number:
                return number, draft
            _discard(draft)
            number = highest

    def _highest(self) -> int:
        return max((int(match[1]) for name in os.listdir(self.path) if (match := _NUMBERED.match(name))), default=0)


def file_name(number: int, modality: str, media_type: str) -> str:
    """Return the file name of a part, such as "02-smell.bin".

    The name has no path separator, whatever the server sends, so that the file stays in its folder.
    """
    subtype = media_type.partition("/")[2].removeprefix("x-")
    suffix = _SUFFIXES.get(subtype, subtype)
    return f"{number:02}-{modality if _SAFE.match(modality) else 'part'}.{suffix if _SAFE.match(suffix) else 'bin'}"


def _publish(draft: Path, path: Path) -> None:
    """Give the draft its final name. Raises `FileExistsError` if the name exists."""
    try:
        # A link, unlike a rename, fails if the name exists.
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:
        # Some file systems, such as exFAT, have no hard links. Claim the name with an empty file, then replace it.
        path.touch(exist_ok=False)
        draft.replace(path)


def _discard(draft: BinaryIO) -> None:
    draft.close()
    Path(draft.name).unlink(missing_ok=True)
