"""Lines for a person on standard error. Text from outside cannot control the terminal."""

from __future__ import annotations

import sys

from motet.answers.printable import printable_line
from motet.core.errors import FaultError, MotetError


def print_status(line: str) -> None:
    """Print one line that begins with "motet: "."""
    print(f"motet: {printable_line(line)}", file=sys.stderr, flush=True)


def print_error(error: MotetError) -> None:
    """Print one line about an error: its message, its reason, and the request's id if the operator should act."""
    request = f", request {error.request_id}" if error.request_id and isinstance(error, FaultError) else ""
    print_status(f"{error.message} ({error.reason}{request})")
