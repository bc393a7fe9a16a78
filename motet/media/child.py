"""The confined child process. It decodes one file from outside under limits that it cannot raise, then it exits.

The child reads the bytes from stdin and writes one line of JSON to stdout: `{"error": CODE, "value": NUMBER}` or the
facts. The raw elements follow. The parent does not trust the child: it checks the line, uses no text from it, and
counts the elements. Nearly all of the start time of some 50 ms is imports, so this module imports little.
"""

from __future__ import annotations

import base64
import json
import math
import resource
import sys
import time
from collections.abc import Sequence

from motet.core.preprocessing import Preprocessing
from motet.media.confinement.layers import confine
from motet.media.limits import DEFAULT_LIMITS, MediaLimits
from motet.media.readers import reader_of
from motet.media.reading import DecodeError, Reading

_MARGIN = 4
"""Processor time of a child divided by the predicted time, at most. Processors differ, and a prediction is rough."""
_MIN_SECONDS = 2
"""Processor time that each child may use, in seconds."""


def main() -> None:
    """Decode stdin.

    The arguments are the media type, the limits and the preprocessing in JSON, the output, and the filter of system
    calls in Base64.
    """
    limits = MediaLimits(**json.loads(sys.argv[2]))
    preprocessing = Preprocessing(**json.loads(sys.argv[3]))
    reading = Reading(sys.argv[1], limits, preprocessing, sys.argv[4], lambda work: _allow(work, limits))  # type: ignore[arg-type]
    read = reader_of(reading.media_type)
    confine(limits, base64.b64decode(sys.argv[5]))
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


def report() -> None:
    """Confine this process, and write the states of its layers to stdout in JSON. The argument is the filter."""
    states = confine(DEFAULT_LIMITS, base64.b64decode(sys.argv[1]))
    sys.stdout.write(json.dumps(states))
    sys.stdout.flush()


def _allow(work: float, limits: MediaLimits) -> None:
    """Limit the processor time by the predicted seconds of work. Raise `DecodeError` if these are too many."""
    if not work <= limits.work_seconds:
        raise DecodeError("work", work)
    seconds = min(limits.cpu_seconds, math.ceil(time.process_time() + _MIN_SECONDS + _MARGIN * work))
    # Only the soft limit, because a later prediction may be higher.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, limits.cpu_seconds))
