"""How a service notices that whoever started it is gone."""

from __future__ import annotations

import os
import signal
import sys
import threading


def exit_with_parent() -> None:
    """Have this process told to stop, by SIGTERM, once its standard input ends.

    Whoever holds the other end need do nothing: however its process ends, the system closes it.
    """
    threading.Thread(target=_wait, name="leash", daemon=True).start()


def _wait() -> None:
    # Not through `sys.stdin`: a process cannot end while a thread holds its lock.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
