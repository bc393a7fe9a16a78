"""The calls that a server in this process ended with an error."""

from __future__ import annotations

from typing import Any

import pytest


def reasons_of_ended_calls(caplog: pytest.LogCaptureFixture) -> list[Any]:
    """Return the reasons of the calls that failed, from the server's log.

    A caller does not always get the reason: if it writes at the moment when the server ends the call, grpc.aio replaces
    the server's status by INTERNAL (grpc#36066).
    """
    return [vars(record)["reason"] for record in caplog.records if record.getMessage() == "a call ended"]
