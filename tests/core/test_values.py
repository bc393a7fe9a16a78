"""Small values: tensors, media, deadlines and errors."""

import time
from hashlib import sha256

import pytest

from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, MotetError, OverloadedError, Reason, RequestError, error_of
from motet.core.media import Media
from motet.core.tensors import Tensor


def test_a_tensor_whose_bytes_fit_its_shape_can_be_made() -> None:
    assert Tensor("float32", (2, 3), bytes(24)).shape == (2, 3)


@pytest.mark.parametrize(
    ("dtype", "shape", "size", "complaint"),
    [
        ("float32", (2, 3), 23, "takes 24 bytes, got 23"),
        ("float64", (1,), 8, "dtype must be one of"),
        ("uint8", (-1, -4), 4, "must not be negative"),
    ],
)
def test_a_tensor_that_does_not_add_up_is_refused(
    dtype: str, shape: tuple[int, ...], size: int, complaint: str
) -> None:
    with pytest.raises(RequestError, match=complaint) as caught:
        Tensor(dtype, shape, bytes(size))
    assert caught.value.reason is Reason.CONDITIONING_INVALID


def test_media_know_their_digest() -> None:
    assert Media("text/plain", b"abc").sha256 == sha256(b"abc").digest()


def test_a_deadline_counts_down_and_stops_at_nought() -> None:
    assert 9 < (Deadline.after(10).remaining() or 0) <= 10
    assert Deadline.after(-1).remaining() == 0
    assert Deadline.never().remaining() is None


def test_a_passed_deadline_says_what_was_being_done() -> None:
    Deadline.after(5).check("painting")
    with pytest.raises(DeadlineError, match="passed while painting"):
        Deadline(time.monotonic()).check("painting")


def test_the_earlier_of_two_deadlines_holds() -> None:
    assert Deadline.never().within(5).at == pytest.approx(time.monotonic() + 5, abs=0.1)
    assert Deadline.after(1).within(5).at == pytest.approx(time.monotonic() + 1, abs=0.1)
    assert Deadline(10.0).earlier_by(4) == Deadline(6.0)
    assert Deadline.never().earlier_by(4) == Deadline.never()


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_becomes_an_error_that_keeps_it(reason: Reason) -> None:
    error = error_of(reason, "so it is", {"index": "3"})

    assert (error.reason, error.message, error.metadata) == (reason, "so it is", {"index": "3"})
    assert type(error) is not MotetError


def test_an_overload_says_when_to_come_back() -> None:
    assert OverloadedError("full", retry_after=2.5).retry_after == 2.5
