"""An answer as JSON lines, for programs.

Each line is one event: an object with `sequence`, `time` (seconds since the epoch), `event` (the event's name) and the
event's fields, named as in the contract. Media bytes are left out. `part_done` of a media part has the `path` of the
complete file and the file's `sha256` in hex. The last line of an answer is `done`, with `state`, `elapsed` in seconds,
and `exit_code`. A command without an answer writes the event `error`.
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
    PlanNode,
    Usage,
)
from services.cli.screens.screen import SavedMedia
from services.exit_codes import exit_of, exit_of_error

Line = dict[str, Any]


class JsonScreen:
    """A screen that writes each event to standard output as one line of JSON."""

    def __init__(self) -> None:
        self._done: Line = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: Event, path: Path | None, saved: SavedMedia | None) -> None:
        """Write an event, except one that carries bytes."""
        if isinstance(event.payload, PartDelta) and isinstance(event.payload.chunk, bytes):
            return
        line = {"sequence": event.sequence, "time": event.time, **_line_of(event.payload)}
        if saved is not None:
            line["path"] = str(saved.path)
        if isinstance(event.payload, Done):
            self._done = line
        else:
            _write(line)

    def show_summary(self, generation: Generation, seconds: float, saved: int) -> None:
        """Write the last line: `done`, with the duration, the number of files and the exit code."""
        _write({**self._done, "elapsed": round(seconds, 3), "files": saved, "exit_code": int(exit_of(generation))})


def write_error(error: MotetError) -> None:
    """Write the last line of a command that got no answer, or not all of it."""
    _write({"event": "error", **_line_of_error(error), "exit_code": int(exit_of_error(error))})


def _line_of(payload: EventPayload) -> Line:
    match payload:
        case Accepted():
            return {"event": "accepted", **asdict(payload)}
        case PlanGrown():
            return {
                "event": "plan",
                "nodes": [_line_of_node(node) for node in payload.nodes],
                "complete": payload.complete,
            }
        case PartStarted():
            return {"event": "part_started", **asdict(payload)}
        case PartDelta():
            return {"event": "part_delta", "part_id": payload.part_id, "offset": payload.offset, "text": payload.chunk}
        case PartProgress():
            return {
                "event": "part_progress",
                "part_id": payload.part_id,
                "step": payload.step,
                "total_steps": payload.total,
            }
        case PartDone():
            return {"event": "part_done", **_line_of_part(payload)}
        case PartFailed():
            return {"event": "part_failed", **_line_of_failure(payload)}
        case Usage():
            return {"event": "usage", **asdict(payload)}
        case Done(generation):
            return {"event": "done", **_line_of_generation(generation)}


def _line_of_node(node: PlanNode) -> Line:
    inputs = [{key: value for key, value in asdict(source).items() if value} for source in node.inputs]
    return {
        "part_id": node.part_id,
        "modality": node.modality,
        "depends_on": list(node.depends_on),
        "inputs": inputs,
    }


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
    line = {"reason": error.reason.value, "message": error.message, "metadata": error.metadata}
    ids = {"request_id": error.request_id, "trace_id": error.trace_id}
    return line | {name: value for name, value in ids.items() if value}


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
