"""The errors of Motet, by the action that the caller should take.

    MotetError
    ├── RequestError          change the request, then retry
    │   ├── MediaError        ... the attached media cause the error
    │   └── NotFoundError     ... the request names something that does not exist
    ├── AccessError           use other credentials, then retry
    ├── RetryableError        the same request may succeed later
    │   └── OverloadedError   ... after `retry_after` seconds
    ├── DeadlineError         the deadline passed: request less, or allow more time
    ├── CancelledError        a caller cancelled the work
    └── FaultError            do not retry; inform the operator
        ├── BundleError       ... the model's files do not match its manifest
        └── SettingsError     ... the settings of the process are invalid

Every error has one `Reason` of a closed list. In a gRPC status the reason is `google.rpc.ErrorInfo.reason`.
Messages are for people. They never contain tracebacks, paths of the server or the text of a library's error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum


class Reason(StrEnum):
    """The reason of an error: a closed list and part of the API. Reasons may be added, but never renamed."""

    INVALID_REQUEST = "INVALID_REQUEST"
    MODALITY_NOT_SUPPORTED = "MODALITY_NOT_SUPPORTED"
    MODALITY_NOT_ALLOWED = "MODALITY_NOT_ALLOWED"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    INPUT_TOO_LARGE = "INPUT_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    MEDIA_UNREADABLE = "MEDIA_UNREADABLE"
    MEDIA_LIMIT_EXCEEDED = "MEDIA_LIMIT_EXCEEDED"
    CONDITIONING_INVALID = "CONDITIONING_INVALID"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    GENERATION_NOT_FOUND = "GENERATION_NOT_FOUND"
    ARTIFACT_NOT_FOUND = "ARTIFACT_NOT_FOUND"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    CREDENTIALS_MISSING = "CREDENTIALS_MISSING"
    CREDENTIALS_INVALID = "CREDENTIALS_INVALID"
    ROLE_MISSING = "ROLE_MISSING"
    MODEL_NOT_PERMITTED = "MODEL_NOT_PERMITTED"
    MODALITY_NOT_PERMITTED = "MODALITY_NOT_PERMITTED"
    QUEUE_FULL = "QUEUE_FULL"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    DRAINING = "DRAINING"
    WORKER_UNAVAILABLE = "WORKER_UNAVAILABLE"
    WORKER_LOST = "WORKER_LOST"
    SLOW_READER = "SLOW_READER"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    SIGNAL_BROKEN = "SIGNAL_BROKEN"
    INPUT_MISSING = "INPUT_MISSING"
    DEPENDENCY_FAILED = "DEPENDENCY_FAILED"
    WORKER_FAULT = "WORKER_FAULT"
    INTERNAL = "INTERNAL"
    EVENTS_INVALID = "EVENTS_INVALID"
    BUNDLE_INVALID = "BUNDLE_INVALID"
    SETTINGS_INVALID = "SETTINGS_INVALID"
    ADDRESS_IN_USE = "ADDRESS_IN_USE"


class MotetError(Exception):
    """The base class: a message for people, and a reason and metadata for programs.

    `metadata` holds the variables of the message. Keys may be added, but never renamed (AIP-193). `request_id` is the
    id of the call that failed with this error, or "". The log lines of every process have it. `trace_id` is the id of
    the trace in which the server failed, or "".
    """

    default = Reason.INTERNAL
    request_id = ""
    trace_id = ""

    def __init__(self, message: str, reason: Reason | None = None, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default
        self.metadata = dict(metadata or {})


def forget_frames(error: BaseException | None) -> None:
    """Remove the tracebacks of an error, of its causes and of its contexts.

    A traceback keeps all local variables of its functions in memory, so an error that is stored must have none.
    """
    for found in chain_of(error):
        found.__traceback__ = None


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, its causes and its contexts, each once."""
    errors, seen = [error], set[int]()
    while errors:
        found = errors.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            yield found
            errors += found.__cause__, found.__context__


class RequestError(MotetError):
    """The request is invalid: change the request."""

    default = Reason.INVALID_REQUEST


class MediaError(RequestError):
    """The attached media cannot be read, have an unsupported type, or exceed a limit."""

    default = Reason.MEDIA_UNREADABLE


class NotFoundError(RequestError):
    """The request names something that does not exist or has expired."""

    default = Reason.GENERATION_NOT_FOUND


class AccessError(MotetError):
    """The credentials are missing or invalid, or do not permit the request: use other credentials."""

    default = Reason.CREDENTIALS_INVALID


class RetryableError(MotetError):
    """The same request may succeed later or at another replica. The request had no effect."""

    default = Reason.WORKER_UNAVAILABLE


_MIN_RETRY_AFTER, _MAX_RETRY_AFTER = 0.1, 60.0


def retry_delay(seconds: float) -> float:
    """Return the `retry_after` for an expected wait: the wait, but from 0.1 to 60 seconds."""
    return min(_MAX_RETRY_AFTER, max(_MIN_RETRY_AFTER, seconds))


class OverloadedError(RetryableError):
    """The queue is full, memory or a quota is used up, or no worker can be reached yet.

    The same request may succeed after `retry_after` seconds.
    """

    default = Reason.QUEUE_FULL

    def __init__(
        self,
        message: str,
        reason: Reason | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float = 1.0,
    ) -> None:
        super().__init__(message, reason, metadata)
        self.retry_after = retry_after


class DeadlineError(MotetError):
    """The deadline passed before the work was done."""

    default = Reason.DEADLINE_EXCEEDED


class CancelledError(MotetError):
    """A caller cancelled the work.

    This error is an outcome that Motet reports. It is not `asyncio.CancelledError`, which stops a task.
    """

    default = Reason.CANCELLED


class FaultError(MotetError):
    """An internal error of Motet or of a worker. The request may be valid."""

    default = Reason.WORKER_FAULT


class BundleError(FaultError):
    """A bundle's manifest or a file is missing, changed or incomplete."""

    default = Reason.BUNDLE_INVALID


class SettingsError(FaultError):
    """A setting or an address of the process is invalid."""

    default = Reason.SETTINGS_INVALID


_CLASS_OF: Mapping[Reason, type[MotetError]] = {
    **dict.fromkeys(Reason, FaultError),
    **dict.fromkeys(
        (
            Reason.INVALID_REQUEST,
            Reason.MODALITY_NOT_SUPPORTED,
            Reason.MODALITY_NOT_ALLOWED,
            Reason.LIMIT_EXCEEDED,
            Reason.INPUT_TOO_LARGE,
            Reason.CONDITIONING_INVALID,
            Reason.REQUEST_ID_REUSED,
            Reason.INPUT_MISSING,
        ),
        RequestError,
    ),
    **dict.fromkeys((Reason.UNSUPPORTED_MEDIA_TYPE, Reason.MEDIA_UNREADABLE, Reason.MEDIA_LIMIT_EXCEEDED), MediaError),
    **dict.fromkeys((Reason.MODEL_NOT_FOUND, Reason.GENERATION_NOT_FOUND, Reason.ARTIFACT_NOT_FOUND), NotFoundError),
    **dict.fromkeys(
        (
            Reason.CREDENTIALS_MISSING,
            Reason.CREDENTIALS_INVALID,
            Reason.ROLE_MISSING,
            Reason.MODEL_NOT_PERMITTED,
            Reason.MODALITY_NOT_PERMITTED,
        ),
        AccessError,
    ),
    **dict.fromkeys(
        (
            Reason.DRAINING,
            Reason.WORKER_UNAVAILABLE,
            Reason.WORKER_LOST,
            Reason.SLOW_READER,
            Reason.OUT_OF_MEMORY,
        ),
        RetryableError,
    ),
    **dict.fromkeys((Reason.QUEUE_FULL, Reason.QUOTA_EXCEEDED), OverloadedError),
    Reason.DEADLINE_EXCEEDED: DeadlineError,
    Reason.CANCELLED: CancelledError,
    Reason.BUNDLE_INVALID: BundleError,
    Reason.SETTINGS_INVALID: SettingsError,
    Reason.ADDRESS_IN_USE: SettingsError,
}


def error_of(reason: Reason, message: str, metadata: Mapping[str, str] | None = None) -> MotetError:
    """Return an error of the reason's class. A client restores a server's error with this function."""
    return _CLASS_OF[reason](message, reason, metadata)
