"""An answer on a terminal: its parts in their order, each piece of media with a bar that fills while it is made."""

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

from motet.core.events import TEXT, Event, Generation, PartDelta, PartFailed, PartProgress, PartStarted
from services.cli.screens.screen import SavedMedia, summary

# A model's text could otherwise move the cursor, change the title or worse.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_REFRESHES = 12


@dataclass(slots=True)
class _Row:
    """One part as it looks now."""

    modality: str
    path: Path | None
    text: str = ""
    step: int = 0
    total: int = 0
    outcome: Text | None = None

    def view(self) -> RenderableType:
        if self.modality == TEXT:
            return Text(self.text.strip(" ").translate(_CONTROLS))
        grid = Table.grid(padding=(0, 2))
        state: RenderableType = self.outcome or Text(f"{self.step}/{self.total}" if self.total else "waiting", "dim")
        bar = ProgressBar(total=self.total or None, completed=self.step, width=24, pulse=not self.total)
        grid.add_row(Text(f"  {self.modality:<8}", "bold"), bar, state)
        return grid


@dataclass(slots=True)
class _Page:
    rows: dict[str, _Row] = field(default_factory=dict)
    foot: Text | None = None

    def __rich_console__(self, *_: object) -> Iterator[RenderableType]:
        # A copy, because the screen's own thread draws while events come in.
        yield from [row.view() for row in list(self.rows.values())]
        if self.foot is not None:
            yield self.foot


class LiveScreen:
    """Draws the answer in place with rich, and leaves it standing when it is over."""

    def __init__(self, folder: Path, console: Console | None = None) -> None:
        self._folder = folder
        self._page = _Page()
        self._live = Live(self._page, console=console, refresh_per_second=_REFRESHES, vertical_overflow="visible")

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def show(self, event: Event, path: Path | None, saved: SavedMedia | None) -> None:
        """One event of the answer."""
        rows = self._page.rows
        match event.payload:
            case PartStarted() as started:
                rows[started.part_id] = _Row(started.modality, path)
            case PartDelta(part_id, _, str(text)):
                rows[part_id].text += text
            case PartProgress() as progress:
                rows[progress.part_id].step, rows[progress.part_id].total = progress.step, progress.total
            case PartFailed() as failed:
                row = rows.setdefault(failed.part_id, _Row("part", None))
                row.total = row.total or 1
                row.outcome = Text(f"{failed.error.message} ({failed.error.reason})".translate(_CONTROLS), "red")
        if saved is not None:
            self._finish(saved)

    def total(self, generation: Generation, seconds: float, saved: int) -> None:
        """The last line."""
        self._page.foot = Text(summary(generation, seconds, saved, self._folder), "dim")

    def _finish(self, saved: SavedMedia) -> None:
        row = next(row for row in self._page.rows.values() if row.path == saved.path)
        row.total = row.step = row.total or 1
        row.outcome = Text(str(saved.path), "green")
