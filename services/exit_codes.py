"""What the command line's exit codes mean."""

from __future__ import annotations

from enum import IntEnum

from motet.core.errors import (
    BundleError,
    CancelledError,
    DeadlineError,
    MotetError,
    RequestError,
    RetryableError,
    SettingsError,
)
from motet.core.events import Generation, State


class Exit(IntEnum):
    """One code per thing a script may want to do next."""

    OK = 0
    """Everything that was asked for is there."""
    FAILED = 1
    """Nothing usable came of it, and the request is not to blame."""
    REFUSED = 2
    """The command, the request, the settings or the bundle must be changed."""
    PARTIAL = 3
    """Some parts are there and some failed."""
    UNAVAILABLE = 4
    """Motet cannot be reached or is too busy: the same command may succeed later."""
    LATE = 5
    """The time ran out; what was done by then is there."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C."""


LEGEND = (
    "Exit codes: 0 done; 1 failed; 2 the command, the request or the bundle must be changed; 3 some parts failed; "
    "4 Motet cannot be reached or is too busy; 5 the time ran out; 130 stopped by Ctrl-C."
)
"""The same for people, for the end of a help text."""


def exit_of_error(error: MotetError) -> Exit:
    """The code of an error that ended a command."""
    match error:
        case RequestError() | BundleError() | SettingsError():
            return Exit.REFUSED
        case RetryableError():
            return Exit.UNAVAILABLE
        case DeadlineError():
            return Exit.LATE
        case CancelledError():
            return Exit.INTERRUPTED
        case _:
            return Exit.FAILED


def exit_of(generation: Generation) -> Exit:
    """The code of a generation that is over."""
    match generation.state:
        case State.SUCCEEDED:
            return Exit.OK
        case State.PARTIAL:
            return Exit.LATE if isinstance(generation.error, DeadlineError) else Exit.PARTIAL
        case State.CANCELLED:
            return Exit.INTERRUPTED
        case _:
            return Exit.FAILED if generation.error is None else exit_of_error(generation.error)
