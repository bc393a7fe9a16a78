"""The protocol of all screens."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from motet.core.events import Artifact, Event, Generation, PlanNode
from motet.core.media import Media


@dataclass(frozen=True, slots=True)
class SavedMedia:
    """Media of an answer, their file, and their artifact, which the server keeps until the artifact expires."""

    modality: str
    path: Path
    media: Media
    artifact: Artifact | None


class Screen(AbstractContextManager["Screen"], Protocol):
    """The output of one answer. A screen gets every event, in order."""

    def __enter__(self) -> Self: ...

    def show(self, event: Event, path: Path | None, saved: SavedMedia | None) -> None:
        """Show an event.

        `path` is the reserved path of a media part, set for the part's first and last event. `saved` is set for the
        last event.
        """
        ...

    def show_summary(self, generation: Generation, seconds: float, saved: int) -> None:
        """Show the end of the answer: its state, its duration in seconds, and its number of saved files."""
        ...


def sources_of(node: PlanNode) -> str:
    """Return the modalities of the inputs of a part, for people. "" for a part without inputs."""
    return " and ".join(source.modality for source in node.inputs)


def summary(generation: Generation, seconds: float, saved: int, folder: Path) -> str:
    """Return one line about a complete answer, for people."""
    files = f"{saved} file{'s' * (saved != 1)} in {folder}" if saved else "no files"
    failed = f", {len(generation.failures)} failed" if generation.failures else ""
    turns = generation.usage.omitted_turns
    omitted = f"; the {turns} oldest turns did not fit the model" if turns else ""
    return f"{generation.state.name.lower()} in {seconds:.1f} s: {files}{failed}{omitted}"
