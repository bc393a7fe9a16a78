"""What the command line shows of an answer while it is made."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from motet.core.events import Artifact, Event, Generation
from motet.core.media import Media


@dataclass(frozen=True, slots=True)
class SavedMedia:
    """Media of an answer, and the file that holds them. The server keeps them too, until the artifact expires."""

    modality: str
    path: Path
    media: Media
    artifact: Artifact | None


class Screen(AbstractContextManager["Screen"], Protocol):
    """Shows one answer. It is told every event in order, and cannot tell where the answer is made."""

    def __enter__(self) -> Self: ...

    def show(self, event: Event, path: Path | None, saved: SavedMedia | None) -> None:
        """One event. `path` is where a media part will be, told with its start; `saved` comes with its end."""
        ...

    def total(self, generation: Generation, seconds: float, saved: int) -> None:
        """The answer is over: `saved` files were written, `seconds` after it was asked for."""
        ...


def summary(generation: Generation, seconds: float, saved: int, folder: Path) -> str:
    """One line about a whole answer, for people."""
    files = f"{saved} file{'s' * (saved != 1)} in {folder}" if saved else "no files"
    failed = f", {len(generation.failures)} failed" if generation.failures else ""
    return f"{generation.state.name.lower()} in {seconds:.1f} s: {files}{failed}"
