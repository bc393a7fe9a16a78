"""An answer in a pipe: text as it arrives, and one line for each file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Self

from motet.answers.printable import printable, printable_line
from motet.core.events import TEXT, Event, Generation, PartDelta, PartFailed, PartStarted
from services.cli.screens.screen import SavedMedia, summary
from services.terminal import print_status


class PlainScreen:
    """A screen that writes text and file names to standard output, in order, and progress to standard error."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._at_line_start = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._begin_line()

    def show(self, event: Event, path: Path | None, saved: SavedMedia | None) -> None:
        """Write an event."""
        match event.payload:
            case PartDelta(_, _, str(text)):
                # A space after a file's line has no use.
                self._write(printable(text.lstrip(" ") if self._at_line_start else text))
            case PartStarted() as started if started.modality != TEXT:
                self._begin_line()
                self._write(printable_line(f"[{started.modality}: {path}]") + "\n")
            case PartFailed() as failed:
                print_status(f"{failed.part_id} failed: {failed.error.message} ({failed.error.reason})")
        if saved is not None:
            print_status(f"{saved.path} is complete: {len(saved.media.data):,} bytes")

    def show_summary(self, generation: Generation, seconds: float, saved: int) -> None:
        """Write the last line."""
        self._begin_line()
        print_status(summary(generation, seconds, saved, self._folder))

    def _begin_line(self) -> None:
        if not self._at_line_start:
            self._write("\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        self._at_line_start = text.endswith("\n") if text else self._at_line_start
