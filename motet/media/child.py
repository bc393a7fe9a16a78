"""The confined child process. It decodes one file from outside under limits that it cannot raise, then it exits.

The child reads the bytes from stdin and writes one line of JSON to stdout: `{"error": CODE, "value": NUMBER}` or the
facts. The raw elements follow. The parent does not trust the child: it checks the line, uses no text from it, and
counts the elements. Nearly all of the start time of some 50 ms is imports, so this module imports little.
"""

from __future__ import annotations

import ctypes
import json
import resource
import signal
import sys

from motet.media.limits import MediaLimits
from motet.media.readers import READERS, DecodeError, prepare

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def main() -> None:
    """Decode stdin. The arguments are the media type, the limits as a JSON object, and "elements" or "facts"."""
    media_type, limits, output = sys.argv[1], MediaLimits(**json.loads(sys.argv[2])), sys.argv[3]
    prepare(media_type)
    _confine(limits)
    elements = b""
    try:
        facts, elements = READERS[media_type](sys.stdin.buffer.read(), limits)
    except DecodeError as error:
        facts = {"error": error.code, "value": error.value}
    except MemoryError:
        facts = {"error": "resources", "value": 0}
    except Exception:
        # All errors of a codec mean the same for the caller, and their texts must not leave this process.
        facts = {"error": "unreadable", "value": 0}
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n")
    if output == "elements":
        sys.stdout.buffer.write(elements)
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
