"""An answer in a pipe: text as it comes, one line per file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Self

from motet.core.events import TEXT, Event, Generation, PartDelta, PartFailed, PartStarted
from services.cli.screens.screen import SavedMedia, summary


class PlainScreen:
    """Writes the answer to standard output, each file's name in its place; news about the work go to standard error."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._at_line_start = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._begin_line()

    def show(self, event: Event, path: Path | None, saved: SavedMedia | None) -> None:
        """One event of the answer."""
        match event.payload:
            case PartDelta(_, _, str(text)):
                # The space between two sentences is no use where a file's line parts them.
                self._write(text.lstrip(" ") if self._at_line_start else text)
            case PartStarted() as started if started.modality != TEXT:
                self._begin_line()
                self._write(f"[{started.modality}: {path}]\n")
            case PartFailed() as failed:
                _tell(f"{failed.part_id} failed: {failed.error.message} ({failed.error.reason})")
        if saved is not None:
            _tell(f"{saved.path} is there: {len(saved.media.data):,} bytes")

    def total(self, generation: Generation, seconds: float, saved: int) -> None:
        """The last line."""
        self._begin_line()
        _tell(summary(generation, seconds, saved, self._folder))

    def _begin_line(self) -> None:
        if not self._at_line_start:
            self._write("\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        self._at_line_start = text.endswith("\n") if text else self._at_line_start


def _tell(line: str) -> None:
    print(f"motet: {line}", file=sys.stderr, flush=True)
