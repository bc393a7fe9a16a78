"""The folder of an answer's media files."""

from __future__ import annotations

import os
import re
from pathlib import Path

from motet.answers.answer import file_name
from motet.core.errors import RequestError

_NUMBERED = re.compile(r"^(\d+)-")


class OutputFolder:
    """A folder of numbered files, "01-MODALITY.png" and so on, in the order of the answer.

    The first write creates the folder. Numbers continue after the highest number in the folder, so no file is ever
    overwritten. A file gets its name only when the file is complete.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._next: int | None = None

    def reserve(self, modality: str, media_type: str) -> Path:
        """Return the path of the next media file. Raises `RequestError` if the folder cannot be used."""
        if self._next is None:
            self._next = self._highest() + 1
        number, self._next = self._next, self._next + 1
        return self.path / file_name(number, modality, media_type)

    def write(self, path: Path, content: bytes) -> None:
        """Write a file to a reserved path. Raises `RequestError` if the path exists or cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            draft = self.path / f".{path.name}.{os.getpid()}.part"
            try:
                draft.write_bytes(content)
                # A link, unlike a rename, fails if the path exists.
                os.link(draft, path)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise RequestError(f"{path} cannot be written: {error.strerror}; choose another --out folder") from error

    def _highest(self) -> int:
        try:
            names = [entry.name for entry in self.path.iterdir()]
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise RequestError(f"{self.path} cannot be used: {error.strerror}; choose another --out folder") from error
        return max((int(match[1]) for name in names if (match := _NUMBERED.match(name))), default=0)
