"""An answer in a pipe: text as it arrives, and one line for each file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Self

from motet.answers.printable import printable, printable_line
from motet.core.events import TEXT, Event, Generation, PartDelta, PartDone, PartFailed, PartStarted, PlanGrown
from services.cli.screens.screen import SavedMedia, sources_of, summary
from services.lazy import loading
from services.terminal import print_status


class PlainScreen:
    """A screen that writes text and the names of complete files to standard output, and progress to standard error.

    Text is written as it arrives. The name of a file that is complete during a text part follows that text.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._at_line_start = True
        self._open_texts: set[str] = set()
        self._complete: list[SavedMedia] = []

    def __enter__(self) -> Self:
        for name in loading():
            print_status(f"loading the {name}")
        return self

    def __exit__(self, *_: object) -> None:
        self._write_names()
        self._begin_line()

    def show(self, event: Event, path: Path | None, saved: SavedMedia | None) -> None:
        """Write an event."""
        match event.payload:
            case PartDelta(_, _, str(text)):
                # A space at the start of a line has no use.
                self._write(printable(text.lstrip(" ") if self._at_line_start else text))
            case PartStarted(part_id, modality=modality):
                if modality == TEXT:
                    self._open_texts.add(part_id)
                else:
                    self._begin_line()
            case PlanGrown(nodes, complete):
                for node in () if complete else nodes[-1:]:
                    if sources := sources_of(node):
                        print_status(f"{node.part_id}: {node.modality} is made from {sources}")
            case PartDone(part_id):
                self._open_texts.discard(part_id)
            case PartFailed(part_id) as failed:
                self._open_texts.discard(part_id)
                print_status(f"{part_id} failed: {failed.error.message} ({failed.error.reason})")
        if saved is not None:
            self._complete.append(saved)
            print_status(f"{saved.path} is complete: {len(saved.media.data):,} bytes")
        if not self._open_texts:
            self._write_names()

    def show_summary(self, generation: Generation, seconds: float, saved: int) -> None:
        """Write the last line."""
        self._write_names()
        self._begin_line()
        print_status(summary(generation, seconds, saved, self._folder))

    def _write_names(self) -> None:
        """Write a line for each complete file that has none yet."""
        for saved in self._complete:
            self._begin_line()
            self._write(printable_line(f"[{saved.modality}: {saved.path}]") + "\n")
        self._complete.clear()

    def _begin_line(self) -> None:
        if not self._at_line_start:
            self._write("\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        self._at_line_start = text.endswith("\n") if text else self._at_line_start
