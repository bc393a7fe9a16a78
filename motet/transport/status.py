"""Errors on the wire: every failure is a `google.rpc.Status` with exactly one `ErrorInfo` (AIP-193).

What was raised on one side of a wire is raised again on its other side, with the same class, reason and metadata.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from motet.core.errors import (
    CancelledError,
    DeadlineError,
    FaultError,
    MotetError,
    OverloadedError,
    Reason,
    RequestError,
    RetryableError,
    error_of,
)

DOMAIN = "motet"
"""The `ErrorInfo.domain` of all of Motet's errors."""

DETAILS_KEY = "grpc-status-details-bin"
"""The trailer in which gRPC carries a `google.rpc.Status`."""

_LONGEST_MESSAGE = 1000
_LONGEST_VALUE = 200
_MOST_VALUES = 8
"""Bytes, bytes, and how many: a peer may refuse trailers of more than 8 KiB, and would then see no error at all."""

_LOG = logging.getLogger(__name__)

CODE_OF: Mapping[Reason, grpc.StatusCode] = {
    Reason.INVALID_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MODALITY_NOT_SUPPORTED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MODALITY_NOT_ALLOWED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.LIMIT_EXCEEDED: grpc.StatusCode.INVALID_ARGUMENT,
    # Not gRPC's own RESOURCE_EXHAUSTED: the same input will be too large the next time, too.
    Reason.INPUT_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UNSUPPORTED_MEDIA_TYPE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MEDIA_UNREADABLE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MEDIA_LIMIT_EXCEEDED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.CONDITIONING_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MODEL_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.GENERATION_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.ARTIFACT_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.SEQUENCE_EXPIRED: grpc.StatusCode.OUT_OF_RANGE,
    Reason.REQUEST_ID_REUSED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.QUEUE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.DRAINING: grpc.StatusCode.UNAVAILABLE,
    Reason.WORKER_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.WORKER_LOST: grpc.StatusCode.UNAVAILABLE,
    Reason.OUT_OF_MEMORY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.CANCELLED: grpc.StatusCode.CANCELLED,
    Reason.SIGNAL_BROKEN: grpc.StatusCode.INTERNAL,
    Reason.DEPENDENCY_FAILED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.WORKER_FAULT: grpc.StatusCode.INTERNAL,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
    Reason.BUNDLE_INVALID: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.SETTINGS_INVALID: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ADDRESS_IN_USE: grpc.StatusCode.FAILED_PRECONDITION,
}

_REASONS = {reason.value: reason for reason in Reason}


class MessageError(RequestError):
    """A message breaks the rules of its proto.

    `violations`, at least one, are pairs of a field's path and what it must be.
    """

    def __init__(self, message: str, violations: tuple[tuple[str, str], ...]) -> None:
        super().__init__(message, metadata={"field": violations[0][0]})
        self.violations = violations


def error_to_status_proto(error: MotetError) -> status_pb2.Status:
    """The status that tells an error: `ErrorInfo`, `RetryInfo` of an overload, `BadRequest` of a broken message."""
    status = status_pb2.Status(code=CODE_OF[error.reason].value[0], message=_cut(error.message, _LONGEST_MESSAGE))
    values = list(error.metadata.items())[:_MOST_VALUES]
    metadata = {_cut(key, _LONGEST_VALUE): _cut(value, _LONGEST_VALUE) for key, value in values}
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))
    if isinstance(error, OverloadedError):
        delay = Duration()
        delay.FromNanoseconds(round(error.retry_after * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, MessageError):
        bad = error_details_pb2.BadRequest()
        for field, description in error.violations[:_MOST_VALUES]:
            bad.field_violations.add(field=_cut(field, _LONGEST_VALUE), description=_cut(description, _LONGEST_VALUE))
        status.details.add().Pack(bad)
    return status


def error_from_status_proto(status: status_pb2.Status) -> MotetError:
    """The error that a status tells. One without a reason that is known here becomes the fault of its sender."""
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(retry)
    if info.domain != DOMAIN or info.reason not in _REASONS:
        return _error_of_code(_code_of_number(status.code), received=False, whom="the service")
    reason, metadata = _REASONS[info.reason], dict(info.metadata)
    if retry.HasField("retry_delay"):
        after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
        return OverloadedError(status.message, reason, metadata, after)
    return error_of(reason, status.message, metadata)


def error_from_rpc(error: grpc.aio.AioRpcError, *, received: bool = False, whom: str = "the service") -> MotetError:
    """The error that a failed call tells: its sender's own, or, when none was sent, what gRPC found.

    `received` says whether a response had come before the failure; `whom` names the other side in messages.
    """
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                break
            return error_from_status_proto(status)
    return _error_of_code(error.code(), received, whom)


def _error_of_code(code: grpc.StatusCode, received: bool, whom: str) -> MotetError:
    match code:
        case grpc.StatusCode.UNAVAILABLE if received:
            return RetryableError(f"the connection to {whom} was lost; ask again", Reason.WORKER_LOST)
        case grpc.StatusCode.UNAVAILABLE:
            return RetryableError(f"{whom} cannot be reached; check that it is running", Reason.WORKER_UNAVAILABLE)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineError(f"{whom} did not answer in time; allow more time or ask for less")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return RequestError(f"a message to or from {whom} is larger than 4 MiB", Reason.INPUT_TOO_LARGE)
        case grpc.StatusCode.CANCELLED:
            return CancelledError(f"{whom} stopped the call")
        case grpc.StatusCode.UNIMPLEMENTED:
            return FaultError(f"{whom} does not know this call; is it the right address and version?")
        case _:
            return FaultError(f"{whom} failed with status {code.name}")


def _cut(text: str, size: int) -> str:
    """The text, or its beginning that takes no more than `size` bytes as UTF-8."""
    return text.encode(errors="replace")[:size].decode(errors="ignore")


def _code_of_number(number: int) -> grpc.StatusCode:
    return next((code for code in grpc.StatusCode if code.value[0] == number), grpc.StatusCode.UNKNOWN)


def public_error(error: Exception) -> MotetError:
    """What a caller is told of an error: our own as it is; a stranger's text goes to the log alone."""
    if isinstance(error, MotetError):
        return error
    _LOG.error("a call failed unexpectedly", exc_info=error)
    return FaultError("internal error", Reason.INTERNAL)


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: MotetError) -> NoReturn:
    """End a call with an error's status."""
    status = error_to_status_proto(error)
    await context.abort(CODE_OF[error.reason], status.message, ((DETAILS_KEY, status.SerializeToString()),))
