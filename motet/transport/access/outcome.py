"""The outcomes of an authentication. The operator sees them, and the caller does not."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The outcome of an authentication: a label of a metric and a word of a log line, never a part of a response."""

    ACCEPTED = "accepted"
    MISSING = "missing"
    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    WRONG_SECRET = "wrong_secret"
    REVOKED = "revoked"
    EXPIRED = "expired"
    ALGORITHM = "algorithm"
    SIGNATURE = "signature"
    CLAIMS = "claims"


class RefusedError(Exception):
    """Credentials were refused. `credential` names them in the log, such as the id of a key. It is never a secret."""

    def __init__(self, outcome: Outcome, credential: str = "") -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.credential = credential
