"""The log line of a call."""

from __future__ import annotations

import logging

import pytest

from motet.core.errors import FaultError, MotetError, OverloadedError, Reason, RequestError, RetryableError
from motet.core.logs.call_line import log_call

PUBLIC, INTERNAL = "/motet.v1.ModelService/ListModels", "/motet.internal.v1.DecoderService/Decode"


@pytest.mark.parametrize(
    ("method", "error", "level"),
    [
        (PUBLIC, None, logging.INFO),
        (PUBLIC, RequestError("wrong"), logging.INFO),
        (PUBLIC, OverloadedError("busy", Reason.QUOTA_EXCEEDED), logging.INFO),
        (PUBLIC, OverloadedError("busy"), logging.WARNING),
        (PUBLIC, RetryableError("lost", Reason.WORKER_LOST), logging.WARNING),
        (PUBLIC, FaultError("broken"), logging.ERROR),
        (INTERNAL, None, logging.DEBUG),
        (INTERNAL, FaultError("broken"), logging.ERROR),
    ],
)
def test_a_call_has_one_line_whose_level_is_that_of_its_reason(
    method: str, error: MotetError | None, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "motet.core.logs.call_line"):
        log_call(method, "CODE", 0.12345678, error, {"tenant": "0123"})

    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (level, "a call ended")
    fields = vars(record)
    assert (fields["method"], fields["code"], fields["tenant"]) == (method, "CODE", "0123")
    assert fields["reason"] == (error.reason if error else "")
    assert fields["seconds"] == 0.123457
