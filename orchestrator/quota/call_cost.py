"""The cost of a worker's call, which is charged once a replica has taken the call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from motet.core.logs.log_fields import LogFields
from motet.core.workers import Encoder, predicted_seconds
from orchestrator.quota.account import Account


def was_taken(fields: LogFields) -> bool:
    """Return whether a replica took the call that has these fields of a log line. Otherwise, it has waited only."""
    return "replica" in fields


@contextmanager
def charged_encoding(account: Account, encoder: Encoder, media: int, fields: LogFields) -> Iterator[None]:
    """Charge the predicted seconds of a number of media at the end of the context, if a replica took the call."""
    try:
        yield
    finally:
        account.charge_encoding(predicted_seconds(encoder, media) if was_taken(fields) else 0.0)
