"""A thread that stops a service when its parent process ends."""

from __future__ import annotations

import os
import signal
import sys
import threading


def exit_with_parent() -> None:
    """Send SIGTERM to this process when its standard input ends.

    The parent holds the other end of the pipe. The system closes that end when the parent ends, for any reason.
    """
    threading.Thread(target=_wait, name="parent watch", daemon=True).start()


def _wait() -> None:
    # Not through `sys.stdin`: a process cannot exit while a thread holds the lock of `sys.stdin`.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
