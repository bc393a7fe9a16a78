"""Exit codes: every error and every state of a generation has a code."""

from __future__ import annotations

import pytest

from motet.core.errors import (
    AccessError,
    BundleError,
    CancelledError,
    DeadlineError,
    FaultError,
    MediaError,
    MotetError,
    NotFoundError,
    OverloadedError,
    Reason,
    RequestError,
    RetryableError,
    SettingsError,
)
from motet.core.events import Generation, PartFailed, State
from services.exit_codes import LEGEND, Exit, exit_of, exit_of_error

CODES: dict[type[MotetError], Exit] = {
    RequestError: Exit.REFUSED,
    MediaError: Exit.REFUSED,
    NotFoundError: Exit.REFUSED,
    SettingsError: Exit.REFUSED,
    BundleError: Exit.REFUSED,
    AccessError: Exit.REFUSED,
    RetryableError: Exit.UNAVAILABLE,
    OverloadedError: Exit.UNAVAILABLE,
    DeadlineError: Exit.LATE,
    CancelledError: Exit.INTERRUPTED,
    FaultError: Exit.FAILED,
    MotetError: Exit.FAILED,
}

NOT_ALLOWED = RequestError("...", Reason.MODALITY_NOT_ALLOWED)


def subclasses(kind: type[MotetError]) -> set[type[MotetError]]:
    """Return an error class and all its subclasses in Motet."""
    own = (child for child in kind.__subclasses__() if child.__module__ == MotetError.__module__)
    return {kind}.union(*map(subclasses, own))


def test_every_error_has_an_exit_code() -> None:
    assert subclasses(MotetError) == CODES.keys()
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
def test_every_state_of_a_finished_generation_has_an_exit_code(
    state: State, error: MotetError | None, code: Exit
) -> None:
    assert exit_of(Generation("generations/g", state, error=error)) is code


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([DeadlineError("...")], Exit.LATE),
        ([FaultError("..."), DeadlineError("...")], Exit.LATE),
        ([FaultError("...")], Exit.PARTIAL),
    ],
)
def test_an_answer_whose_part_failed_at_the_time_limit_is_late(errors: list[MotetError], code: Exit) -> None:
    failures = tuple(PartFailed(f"p{number}", error) for number, error in enumerate(errors))

    assert exit_of(Generation("generations/g", State.PARTIAL, failures=failures)) is code


@pytest.mark.parametrize(
    ("state", "error", "failures", "code"),
    [
        (State.PARTIAL, None, [NOT_ALLOWED], Exit.PARTIAL),
        (State.FAILED, NOT_ALLOWED, [NOT_ALLOWED], Exit.PARTIAL),
        (State.FAILED, NOT_ALLOWED, [NOT_ALLOWED, FaultError("...")], Exit.PARTIAL),
        (State.FAILED, FaultError("..."), [FaultError("...")], Exit.FAILED),
        (State.FAILED, DeadlineError("..."), [NOT_ALLOWED], Exit.LATE),
        (State.FAILED, RequestError("...", Reason.INPUT_TOO_LARGE), [], Exit.REFUSED),
    ],
)
def test_a_valid_request_whose_media_were_suppressed_is_not_refused_even_if_nothing_remains(
    state: State, error: MotetError | None, failures: list[MotetError], code: Exit
) -> None:
    parts = tuple(PartFailed(f"p{number}", failure) for number, failure in enumerate(failures))

    assert exit_of(Generation("generations/g", state, error=error, failures=parts)) is code


def test_the_legend_names_every_code() -> None:
    assert all(f"{code.value} " in LEGEND for code in Exit)
