"""Each way to end has its code, and no way is left out."""

from __future__ import annotations

import pytest

from motet.core.errors import (
    BundleError,
    CancelledError,
    DeadlineError,
    FaultError,
    MediaError,
    MotetError,
    NotFoundError,
    OverloadedError,
    RequestError,
    RetryableError,
    SettingsError,
)
from motet.core.events import Generation, State
from services.exit_codes import LEGEND, Exit, exit_of, exit_of_error

CODES: dict[type[MotetError], Exit] = {
    RequestError: Exit.REFUSED,
    MediaError: Exit.REFUSED,
    NotFoundError: Exit.REFUSED,
    SettingsError: Exit.REFUSED,
    BundleError: Exit.REFUSED,
    RetryableError: Exit.UNAVAILABLE,
    OverloadedError: Exit.UNAVAILABLE,
    DeadlineError: Exit.LATE,
    CancelledError: Exit.INTERRUPTED,
    FaultError: Exit.FAILED,
    MotetError: Exit.FAILED,
}


def every(kind: type[MotetError]) -> set[type[MotetError]]:
    own = (child for child in kind.__subclasses__() if child.__module__ == MotetError.__module__)
    return {kind}.union(*map(every, own))


def test_every_error_has_the_code_of_what_to_do_about_it() -> None:
    assert every(MotetError) == CODES.keys()
    assert {kind: exit_of_error(kind("...")) for kind in CODES} == CODES


@pytest.mark.parametrize(
    ("state", "error", "code"),
    [
        (State.SUCCEEDED, None, Exit.OK),
        (State.PARTIAL, None, Exit.PARTIAL),
        (State.PARTIAL, FaultError("..."), Exit.PARTIAL),
        (State.PARTIAL, DeadlineError("..."), Exit.LATE),
        (State.FAILED, None, Exit.FAILED),
        (State.FAILED, RetryableError("..."), Exit.UNAVAILABLE),
        (State.CANCELLED, CancelledError("..."), Exit.INTERRUPTED),
    ],
)
def test_a_generation_that_is_over_has_the_code_of_how_it_went(
    state: State, error: MotetError | None, code: Exit
) -> None:
    assert exit_of(Generation("generations/g", state, error=error)) is code


def test_the_legend_names_every_code() -> None:
    assert all(f"{code.value} " in LEGEND for code in Exit)
