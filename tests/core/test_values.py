"""Tests of the value types: tensors, media, deadlines and errors."""

import time
from hashlib import sha256

import pytest

from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, MotetError, OverloadedError, Reason, RequestError, error_of
from motet.core.media import Media
from motet.core.tensors import Tensor


def test_a_tensor_whose_bytes_match_its_shape_is_valid() -> None:
    assert Tensor("float32", (2, 3), bytes(24)).shape == (2, 3)


@pytest.mark.parametrize(
    ("dtype", "shape", "size", "message"),
    [
        ("float32", (2, 3), 23, "takes 24 bytes, got 23"),
        ("float64", (1,), 8, "dtype must be one of"),
        ("uint8", (-1, -4), 4, "must not be negative"),
    ],
)
def test_a_tensor_whose_bytes_do_not_match_its_shape_is_refused(
    dtype: str, shape: tuple[int, ...], size: int, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        Tensor(dtype, shape, bytes(size))
    assert caught.value.reason is Reason.CONDITIONING_INVALID


def test_media_have_the_digest_of_their_bytes() -> None:
    assert Media("text/plain", b"abc").sha256 == sha256(b"abc").digest()


def test_the_remaining_time_decreases_to_zero() -> None:
    assert 900 < (Deadline.after(1000).remaining() or 0) <= 1000
    assert Deadline.after(-1).remaining() == 0
    assert Deadline.never().remaining() is None


def test_the_error_of_a_passed_deadline_names_the_activity() -> None:
    Deadline.after(1000).check("encoding")
    with pytest.raises(DeadlineError, match="passed while encoding"):
        Deadline(time.monotonic()).check("encoding")


def test_within_returns_the_earlier_of_two_deadlines() -> None:
    before = time.monotonic()
    later, earlier = Deadline.never().within(500).at, Deadline.after(100).within(500).at
    after = time.monotonic()
    assert before + 500 <= (later or 0) <= after + 500
    assert before + 100 <= (earlier or 0) <= after + 100
    assert Deadline(10.0).earlier_by(4) == Deadline(6.0)
    assert Deadline.never().earlier_by(4) == Deadline.never()


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_an_error_class_that_keeps_the_reason(reason: Reason) -> None:
    error = error_of(reason, "message", {"index": "3"})

    assert (error.reason, error.message, error.metadata) == (reason, "message", {"index": "3"})
    assert type(error) is not MotetError


def test_an_overload_error_has_the_delay_before_a_retry() -> None:
    assert OverloadedError("full", retry_after=2.5).retry_after == 2.5
