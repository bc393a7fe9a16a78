"""What decodes bytes from outside: a process of its own, with limits it cannot lift, that answers once and ends.

It reads the bytes from stdin and writes one line of JSON to stdout, either `{"refused": CODE, "found": NUMBER}` or
what was found, followed by the raw elements. Its parent believes neither: it checks the line, takes no text from it,
and counts the elements. A start takes some 50 ms, nearly all of it imports: import little here.
"""

from __future__ import annotations

import ctypes
import json
import resource
import signal
import sys

from motet.media.limits import MediaLimits
from motet.media.readers import READERS, RefusedError, prepare

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def main() -> None:
    """Read stdin as the type that the first argument names, under the limits in the second, a JSON object.

    The third is "elements", or "facts" to leave the elements out.
    """
    media_type, limits, wanted = sys.argv[1], MediaLimits(**json.loads(sys.argv[2])), sys.argv[3]
    prepare(media_type)
    _confine(limits)
    body = b""
    try:
        found, body = READERS[media_type](sys.stdin.buffer.read(), limits)
    except RefusedError as refusal:
        found = {"refused": refusal.code, "found": refusal.found}
    except MemoryError:
        found = {"refused": "resources", "found": 0}
    except Exception:
        # Whatever a codec raises means the same to the caller, and its text is not for them.
        found = {"refused": "unreadable", "found": 0}
    sys.stdout.buffer.write(json.dumps(found).encode() + b"\n")
    if wanted == "elements":
        sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


def _confine(limits: MediaLimits) -> None:
    """Take from this process what it does not need, before it has seen a byte from outside."""
    for what, most in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        # No new descriptor: no file, no socket, no pipe. The three standard ones are open already.
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(what, (most, most))
    if sys.platform == "linux":
        system = ctypes.CDLL(None)
        system.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # Should the parent be killed, nobody else would end this process.
        system.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
