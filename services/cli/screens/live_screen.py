"""An answer on a terminal: its parts in order, with a progress bar for each media part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from motet.answers.printable import printable, printable_line
from motet.core.events import TEXT, Event, Generation, PartDelta, PartFailed, PartProgress, PartStarted, PlanGrown
from services.cli.screens.screen import SavedMedia, sources_of, summary
from services.lazy import decoder_name, loading

_REFRESHES_PER_SECOND = 12


@dataclass(slots=True)
class _PartLine:
    """The current state of one part."""

    modality: str
    path: Path | None
    sources: str = ""
    """The modalities that the part is made from."""
    text: str = ""
    step: int = 0
    total: int = 0
    outcome: Text | None = None

    def view(self) -> RenderableType:
        if self.modality == TEXT:
            return Text(printable(self.text.strip(" ")))
        grid = Table.grid(padding=(0, 2))
        state: RenderableType = self.outcome or Text(self._progress(), "dim")
        bar = ProgressBar(total=self.total or None, completed=self.step, width=24, pulse=not self.total)
        name = f"  {self.modality:<8}"
        sources = [Text(printable_line(f"from {self.sources}"), "dim")] if self.sources else []
        grid.add_row(Text(printable_line(name), "bold"), bar, state, *sources)
        return grid

    def _progress(self) -> str:
        if self.total:
            return f"{self.step}/{self.total}"
        return "loading" if decoder_name(self.modality) in loading() else "waiting"


@dataclass(slots=True)
class _Page:
    parts: dict[str, _PartLine] = field(default_factory=dict)
    summary: Text | None = None

    def __rich_console__(self, *_: object) -> Iterator[RenderableType]:
        # A copy, because rich's thread draws while events arrive.
        parts = list(self.parts.values())
        yield from [part.view() for part in parts]
        if not parts:
            yield from [Text(f"loading the {name} ...", "dim") for name in loading()]
        if self.summary is not None:
            yield self.summary


class LiveScreen:
    """A screen that draws the answer in place with rich. The complete answer stays on the terminal."""

    def __init__(self, folder: Path, console: Console | None = None) -> None:
        self._folder = folder
        self._page = _Page()
        self._sources: dict[str, str] = {}
        self._live = Live(
            self._page, console=console, refresh_per_second=_REFRESHES_PER_SECOND, vertical_overflow="visible"
        )

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def show(self, event: Event, path: Path | None, saved: SavedMedia | None) -> None:
        """Draw an event."""
        parts = self._page.parts
        match event.payload:
            case PartStarted() as started:
                parts[started.part_id] = _PartLine(started.modality, path, self._sources.get(started.part_id, ""))
            case PlanGrown(nodes):
                self._sources = {node.part_id: sources_of(node) for node in nodes}
            case PartDelta(part_id, _, str(text)):
                parts[part_id].text += text
            case PartProgress() as progress:
                part = parts[progress.part_id]
                part.step, part.total = progress.step, progress.total
            case PartFailed() as failed:
                part = parts.setdefault(failed.part_id, _PartLine("part", None))
                part.total = part.total or 1
                part.outcome = Text(printable_line(f"{failed.error.message} ({failed.error.reason})"), "red")
        if saved is not None:
            self._finish(saved)

    def show_summary(self, generation: Generation, seconds: float, saved: int) -> None:
        """Draw the last line."""
        self._page.summary = Text(printable_line(summary(generation, seconds, saved, self._folder)), "dim")

    def _finish(self, saved: SavedMedia) -> None:
        part = next(part for part in self._page.parts.values() if part.path == saved.path)
        part.total = part.step = part.total or 1
        part.outcome = Text(printable_line(str(saved.path)), "green")
