"""The confined child process. It decodes one file from outside under limits that it cannot raise, then it exits.

The child reads the bytes from stdin and writes one line of JSON to stdout: `{"error": CODE, "value": NUMBER}` or the
facts. The raw elements follow. The parent does not trust the child: it checks the line, uses no text from it, and
counts the elements. Nearly all of the start time of some 50 ms is imports, so this module imports little.
"""

from __future__ import annotations

import ctypes
import json
import math
import resource
import signal
import sys
import time
from collections.abc import Sequence

from motet.core.preprocessing import Preprocessing
from motet.media.limits import MediaLimits
from motet.media.readers import reader_of
from motet.media.reading import DecodeError, Reading

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38

_MARGIN = 4
"""Processor time of a child divided by the predicted time, at most. Processors differ, and a prediction is rough."""
_MIN_SECONDS = 2
"""Processor time that each child may use, in seconds."""


def main() -> None:
    """Decode stdin. The arguments are the media type, the limits and the preprocessing in JSON, and the output."""
    limits = MediaLimits(**json.loads(sys.argv[2]))
    preprocessing = Preprocessing(**json.loads(sys.argv[3]))
    reading = Reading(sys.argv[1], limits, preprocessing, sys.argv[4], lambda work: _allow(work, limits))  # type: ignore[arg-type]
    read = reader_of(reading.media_type)
    _confine(limits)
    elements: Sequence[bytes] = ()
    try:
        facts, elements = read(sys.stdin.buffer.read(), reading)
    except DecodeError as error:
        facts = {"error": error.code, "value": error.value}
    except MemoryError:
        facts = {"error": "resources", "value": 0}
    except Exception:
        # All errors of a codec mean the same for the caller, and their texts must not leave this process.
        facts = {"error": "unreadable", "value": 0}
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n")
    if reading.output != "facts":
        sys.stdout.buffer.writelines(elements)
    sys.stdout.buffer.flush()


def _confine(limits: MediaLimits) -> None:
    """Limit the resources of this process. Call it before the process reads bytes from outside."""
    for name, value in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        # No new descriptor: no file, no socket, no pipe. The three standard descriptors are open already.
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(name, (value, value))
    if sys.platform == "linux":
        system = ctypes.CDLL(None)
        system.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # The kernel kills this process if its parent dies.
        system.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _allow(work: float, limits: MediaLimits) -> None:
    """Limit the processor time by the predicted seconds of work. Raise `DecodeError` if these are too many."""
    if not work <= limits.work_seconds:
        raise DecodeError("work", work)
    seconds = min(limits.cpu_seconds, math.ceil(time.process_time() + _MIN_SECONDS + _MARGIN * work))
    # Only the soft limit, because a later prediction may be higher.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, limits.cpu_seconds))
