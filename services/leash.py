"""How a service notices that whoever started it is gone."""

from __future__ import annotations

import os
import signal
import sys
import threading


def hold() -> None:
    """Have this process told to stop, by SIGTERM, once its standard input ends.

    Whoever holds the other end need do nothing: however its process ends, the system closes it.
    """
    threading.Thread(target=_wait, name="leash", daemon=True).start()


def _wait() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
