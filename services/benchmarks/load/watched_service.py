"""A toy service in a process of its own, whose event loop records its silences: the times in which it answers nothing.

`python -m services.benchmarks.load.watched_service KIND FILE OPTIONS` serves as `motet serve KIND --toy` does. OPTIONS
is a JSON object of the service's options. The silences go to FILE.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

from services.decoder.service import decoder_service
from services.encoder.service import encoder_service
from services.llm.service import language_model_service
from services.logs.lines import configure_logs
from services.orchestrator.service import orchestrator_service
from services.parent_watch import exit_with_parent
from services.serve import Service, serve

SERVICES: Mapping[str, Callable[[dict[str, Any]], Service]] = {
    "encoder": encoder_service,
    "language model": language_model_service,
    "decoder": decoder_service,
    "orchestrator": orchestrator_service,
}

_INTERVAL = 0.002
"""Seconds between two checks of the event loop. A shorter silence is not recorded."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A time in which an event loop ran nothing else, in seconds, and its processor time."""

    seconds: float
    processor_seconds: float

    def longer(self, other: Silence) -> Silence:
        """Return the longer of two silences, by each of the two times."""
        return Silence(max(self.seconds, other.seconds), max(self.processor_seconds, other.processor_seconds))


class SilenceFile:
    """A reader of the silences of a watched service."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0

    def read(self) -> Iterator[Silence]:
        """Yield the silences that were recorded since the last call."""
        with self.path.open() as file:
            file.seek(self._position)
            lines = file.read()
        complete = lines.rpartition("\n")[0]
        self._position += len(complete) + 1 if complete else 0
        for line in complete.splitlines():
            yield Silence(*map(float, line.split()))

    def longest(self) -> Silence:
        """Return the longest of the silences since the last call, by each of the two times."""
        return reduce(Silence.longer, self.read(), Silence(0.0, 0.0))


async def record_silences(path: Path) -> None:
    """Append each silence of the running event loop to a file."""
    with path.open("a", buffering=1) as file:
        while True:
            started, processor = perf_counter(), thread_time()
            await asyncio.sleep(_INTERVAL)
            silence = perf_counter() - started - _INTERVAL
            if silence > _INTERVAL:
                file.write(f"{silence:.6f} {thread_time() - processor:.6f}\n")


async def _serve(service: Service, path: Path) -> int:
    recording = asyncio.create_task(record_silences(path))
    try:
        return await serve(service)
    finally:
        recording.cancel()
        with suppress(asyncio.CancelledError):
            await recording


def main() -> int:
    """Serve until the parent process exits."""
    kind, path, options = sys.argv[1:4]
    if "--exit-with-parent" in sys.argv:
        exit_with_parent()
    configure_logs("error")
    toy = {"toy": True, "listen": "127.0.0.1:0", **json.loads(options)}
    return asyncio.run(_serve(SERVICES[kind](toy), Path(path)))


if __name__ == "__main__":
    sys.exit(main())
