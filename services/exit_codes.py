"""The exit codes of the command line."""

from __future__ import annotations

from enum import IntEnum

from motet.core.errors import (
    AccessError,
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
    """An exit code. Each has its own consequence for a script."""

    OK = 0
    """The answer is complete."""
    FAILED = 1
    """There is no answer, and the request is not the cause."""
    REFUSED = 2
    """The command, the request, the settings or the bundle is wrong."""
    PARTIAL = 3
    """Some parts of the answer failed or were not permitted, or the answer was cut."""
    UNAVAILABLE = 4
    """Motet cannot be reached or is overloaded. A retry may succeed."""
    LATE = 5
    """The time limit was exceeded. Parts that were complete by then are available."""
    INTERRUPTED = 130
    """Ctrl-C stopped the command."""


LEGEND = (
    "Exit codes: 0 done; 1 failed; 2 the command, the request or the bundle is wrong; 3 some parts failed, or the "
    "answer was cut; 4 Motet cannot be reached or is overloaded; 5 time limit exceeded; 130 stopped by Ctrl-C."
)
"""The exit codes, for the end of a help text."""


def exit_of_error(error: MotetError) -> Exit:
    """Return the exit code of an error that ended a command."""
    match error:
        case RequestError() | AccessError() | BundleError() | SettingsError():
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
    """Return the exit code of a finished generation."""
    match generation.state:
        case State.SUCCEEDED:
            return Exit.OK
        case State.PARTIAL:
            errors = (generation.error, *(failure.error for failure in generation.failures))
            return Exit.LATE if any(isinstance(error, DeadlineError) for error in errors) else Exit.PARTIAL
        case State.CANCELLED:
            return Exit.INTERRUPTED
        case State.FAILED if generation.failures and isinstance(generation.error, RequestError):
            # The request was valid: it got as far as a part. A limit suppressed the part, and nothing else remains.
            return Exit.PARTIAL
        case _:
            return Exit.FAILED if generation.error is None else exit_of_error(generation.error)
