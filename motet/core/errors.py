"""What can go wrong, sorted by what the caller should do about it.

    MotetError
    ├── RequestError          change the request, then ask again
    │   ├── MediaError        ... the attached media are the trouble
    │   └── NotFoundError     ... it names something that is not (or no longer) there
    ├── RetryableError        the same request may succeed later
    │   └── OverloadedError   ... not before `retry_after` seconds
    ├── DeadlineError         the time ran out: ask for less, or allow more
    ├── CancelledError        somebody asked for it to stop
    └── FaultError            give up and tell the operator
        ├── BundleError       ... the model's files are not what its manifest says
        └── SettingsError     ... the process was started with settings it cannot use

Every error carries one `Reason` of a closed list; on the wire it is `google.rpc.ErrorInfo.reason`.
Messages are for people and never hold tracebacks, paths of the server or text of a library.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Reason(StrEnum):
    """Why something failed: a closed list, part of the contract. Entries are added, never renamed."""

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
    SEQUENCE_EXPIRED = "SEQUENCE_EXPIRED"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    QUEUE_FULL = "QUEUE_FULL"
    DRAINING = "DRAINING"
    WORKER_UNAVAILABLE = "WORKER_UNAVAILABLE"
    WORKER_LOST = "WORKER_LOST"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    SIGNAL_BROKEN = "SIGNAL_BROKEN"
    DEPENDENCY_FAILED = "DEPENDENCY_FAILED"
    WORKER_FAULT = "WORKER_FAULT"
    INTERNAL = "INTERNAL"
    BUNDLE_INVALID = "BUNDLE_INVALID"
    SETTINGS_INVALID = "SETTINGS_INVALID"
    ADDRESS_IN_USE = "ADDRESS_IN_USE"


class MotetError(Exception):
    """The root: a message for a person, a reason for a program, and the values the message speaks of.

    `metadata` repeats the message's variables for programs; keys may be added, never renamed (AIP-193).
    """

    default = Reason.INTERNAL

    def __init__(self, message: str, reason: Reason | None = None, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default
        self.metadata = dict(metadata or {})


class RequestError(MotetError):
    """The request cannot be served as it is: change it."""

    default = Reason.INVALID_REQUEST


class MediaError(RequestError):
    """Attached media cannot be read, are of an unsupported type, or exceed a limit."""

    default = Reason.MEDIA_UNREADABLE


class NotFoundError(RequestError):
    """The request names something that does not exist, or no longer."""

    default = Reason.GENERATION_NOT_FOUND


class RetryableError(MotetError):
    """The same request may succeed later or elsewhere; nothing was done for it."""

    default = Reason.WORKER_UNAVAILABLE


class OverloadedError(RetryableError):
    """Refused at once because too much work is waiting. `retry_after` is in seconds, and positive."""

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
    """The work was stopped because somebody asked for it.

    Not `asyncio.CancelledError`, which stops a task; this one is the outcome that is told to others.
    """

    default = Reason.CANCELLED


class FaultError(MotetError):
    """Motet, or a worker, is at fault; the request may be fine."""

    default = Reason.WORKER_FAULT


class BundleError(FaultError):
    """A bundle's manifest or files are missing, altered or half-written."""

    default = Reason.BUNDLE_INVALID


class SettingsError(FaultError):
    """A process was given settings, or an address, that it cannot use."""

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
            Reason.SEQUENCE_EXPIRED,
            Reason.REQUEST_ID_REUSED,
        ),
        RequestError,
    ),
    **dict.fromkeys((Reason.UNSUPPORTED_MEDIA_TYPE, Reason.MEDIA_UNREADABLE, Reason.MEDIA_LIMIT_EXCEEDED), MediaError),
    **dict.fromkeys((Reason.MODEL_NOT_FOUND, Reason.GENERATION_NOT_FOUND, Reason.ARTIFACT_NOT_FOUND), NotFoundError),
    **dict.fromkeys(
        (Reason.DRAINING, Reason.WORKER_UNAVAILABLE, Reason.WORKER_LOST, Reason.OUT_OF_MEMORY), RetryableError
    ),
    Reason.QUEUE_FULL: OverloadedError,
    Reason.DEADLINE_EXCEEDED: DeadlineError,
    Reason.CANCELLED: CancelledError,
    Reason.BUNDLE_INVALID: BundleError,
    Reason.SETTINGS_INVALID: SettingsError,
    Reason.ADDRESS_IN_USE: SettingsError,
}


def error_of(reason: Reason, message: str, metadata: Mapping[str, str] | None = None) -> MotetError:
    """The error of a reason: what crossed a wire becomes again what was raised on its other side."""
    return _CLASS_OF[reason](message, reason, metadata)
