"""An answer as JSON lines, for programs.

Each line is one event, an object with `sequence`, `time` (seconds since the epoch), `event` (its name) and its own
fields, named as in the contract. Media bytes are left out: `part_started` of a media part tells the `path` where they
will be, `part_done` the `path` where they are and their `sha256` in hex. The last line of an answer is `done`, with
`state`, `elapsed` in seconds, and `exit_code`. What fails before there is an answer is a line whose event is `error`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from motet.core.errors import MotetError
from motet.core.events import (
    Accepted,
    Done,
    Event,
    EventPayload,
    Generation,
    PartDelta,
    PartDone,
    PartFailed,
    PartProgress,
    PartStarted,
    PlanGrown,
    Usage,
)
from services.cli.screens.screen import SavedMedia
from services.exit_codes import exit_of, exit_of_error

Line = dict[str, Any]


class JsonScreen:
    """Writes each event as one line of JSON to standard output."""

    def __init__(self) -> None:
        self._done: Line = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: Event, path: Path | None, saved: SavedMedia | None) -> None:
        """One event, unless it carries bytes."""
        if isinstance(event.payload, PartDelta) and isinstance(event.payload.chunk, bytes):
            return
        line = {"sequence": event.sequence, "time": event.time, **_line_of(event.payload)}
        if where := saved.path if saved else path:
            line["path"] = str(where)
        if isinstance(event.payload, Done):
            self._done = line
        else:
            _write(line)

    def total(self, generation: Generation, seconds: float, saved: int) -> None:
        """The last line: `done`, with what only the whole answer can tell."""
        _write({**self._done, "elapsed": round(seconds, 3), "files": saved, "exit_code": int(exit_of(generation))})


def write_error(error: MotetError) -> None:
    """The one line of a command that ended before there was an answer, or without its end."""
    _write({"event": "error", **_line_of_error(error), "exit_code": int(exit_of_error(error))})


def _line_of(what: EventPayload) -> Line:
    match what:
        case Accepted():
            return {"event": "accepted", **asdict(what)}
        case PlanGrown():
            return {"event": "plan", **asdict(what)}
        case PartStarted():
            return {"event": "part_started", **asdict(what)}
        case PartDelta():
            return {"event": "part_delta", "part_id": what.part_id, "offset": what.offset, "text": what.chunk}
        case PartProgress():
            return {"event": "part_progress", "part_id": what.part_id, "step": what.step, "total_steps": what.total}
        case PartDone():
            return {"event": "part_done", **_line_of_part(what)}
        case PartFailed():
            return {"event": "part_failed", **_line_of_failure(what)}
        case Usage():
            return {"event": "usage", **asdict(what)}
        case Done(generation):
            return {"event": "done", **_line_of_generation(generation)}


def _line_of_part(done: PartDone) -> Line:
    line: Line = {"part_id": done.part_id, "sha256": done.sha256.hex(), "provenance": dict(done.provenance)}
    if artifact := done.artifact:
        line |= {"artifact": artifact.name, "media_type": artifact.media_type, "size_bytes": artifact.size_bytes}
    return line


def _line_of_failure(failed: PartFailed) -> Line:
    return {
        "part_id": failed.part_id,
        **_line_of_error(failed.error),
        "retryable": failed.retryable,
        "fallback_part_id": failed.fallback_part_id,
    }


def _line_of_error(error: MotetError) -> Line:
    return {"reason": error.reason.value, "message": error.message, "metadata": error.metadata}


def _line_of_generation(generation: Generation) -> Line:
    return {
        "generation": generation.name,
        "state": generation.state.name,
        "parts": [_line_of_part(part) for part in generation.parts],
        "failures": [_line_of_failure(failure) for failure in generation.failures],
        "usage": asdict(generation.usage),
        "error": None if generation.error is None else _line_of_error(generation.error),
    }


def _write(line: Line) -> None:
    print(json.dumps(line), flush=True)
