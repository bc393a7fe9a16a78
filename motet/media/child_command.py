"""The command line and the environment of a decoding child."""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path
from typing import Literal

from motet.media.confinement.system_calls import compiled_filter

_NICENESS = 5
"""Niceness of a child beside its parent's. At equal demand, the service gets three times its processor time.

Nearly all of a child's time is its start, so callers who attach many small files would slow down all others.
"""

_START = (
    "import os, sys; os.nice({niceness}); sys.path += {paths!r}; sys.argv = ['', *sys.argv[1:]]; "
    "from motet.media import child; child.{function}()"
)
_PACKAGES = str(Path(__file__).resolve().parents[2])

# The child gets no variable of this process except the library path. One thread: NumPy would start several.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"} | {
    name: os.environ[name] for name in os.environ if name == "LD_LIBRARY_PATH"
}


def child_command(function: Literal["main", "report"], *arguments: str) -> tuple[str, ...]:
    """Return the command of a child that runs a function of `motet.media.child`. The filter is the last argument."""
    start = _START.format(
        niceness=_NICENESS, paths=[_PACKAGES, *(path for path in sys.path if path)], function=function
    )
    # -I and -S: ignore PYTHON* variables, the user's site-packages and .pth files.
    return (sys.executable, "-I", "-S", "-c", start, *arguments, base64.b64encode(_filter()).decode())


def _filter() -> bytes:
    try:
        return compiled_filter()
    except OSError:
        # The other layers still confine the child. A service logs the missing layer when it starts.
        return b""
