"""Errors on the wire: every failure is a `google.rpc.Status` with exactly one `ErrorInfo` (AIP-193).

An error raised by the server is raised again by the client, with the same class, reason and metadata.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from motet.core.errors import (
    DeadlineError,
    FaultError,
    MotetError,
    OverloadedError,
    Reason,
    RequestError,
    RetryableError,
    error_of,
)
from motet.core.logs.request_id import current_request_id
from motet.core.tracing.span import current_trace_id
from motet.transport.bounds.limits import MAX_METADATA_BYTES

DOMAIN = "motet"
"""The `ErrorInfo.domain` of all of Motet's errors."""

DETAILS_KEY = "grpc-status-details-bin"
"""The trailer in which gRPC carries a `google.rpc.Status`."""

_MAX_MESSAGE_BYTES = 1000
_MAX_VALUE_BYTES = 200
_MAX_VALUES = 8
"""Limits that keep a status below 8 KiB. A peer may refuse larger trailers, and would then get no error at all."""

_RECEIVED = "CLIENT: Received message larger"
"""Part of gRPC's text if this side refused a message for its size. The caller's request is not the cause then."""

_METADATA_TOO_LARGE = "metadata size exceeds"
"""Part of gRPC's text if the other side refused the metadata of a call for their size."""

_HANDSHAKE_FAILED = re.compile("handshake failed|verification check failed", re.IGNORECASE)
"""Part of gRPC's text if this side could not establish TLS: no TLS there, or a certificate that it does not trust."""

_CONNECTION_CLOSED = "Socket closed"
"""Part of gRPC's text if the other side closed a new connection, for example without a certificate that it requires."""

_WRITE_FAILED = "SendMessageOperation"
"""Part of grpc.aio's text if a call ended while this side wrote. It replaces the status of the peer (grpc#36066)."""

_TRACE_ID = re.compile("[0-9a-f]{32}")

_LOG = logging.getLogger(__name__)

CODE_OF: Mapping[Reason, grpc.StatusCode] = {
    Reason.INVALID_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MODALITY_NOT_SUPPORTED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MODALITY_NOT_ALLOWED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.LIMIT_EXCEEDED: grpc.StatusCode.INVALID_ARGUMENT,
    # Not RESOURCE_EXHAUSTED as in gRPC: a retry with the same input fails, too.
    Reason.INPUT_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UNSUPPORTED_MEDIA_TYPE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MEDIA_UNREADABLE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MEDIA_LIMIT_EXCEEDED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.CONDITIONING_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MODEL_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.GENERATION_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.ARTIFACT_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.REQUEST_ID_REUSED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.CREDENTIALS_MISSING: grpc.StatusCode.UNAUTHENTICATED,
    Reason.CREDENTIALS_INVALID: grpc.StatusCode.UNAUTHENTICATED,
    Reason.ROLE_MISSING: grpc.StatusCode.PERMISSION_DENIED,
    Reason.MODEL_NOT_PERMITTED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.MODALITY_NOT_PERMITTED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.QUEUE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.QUOTA_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.DRAINING: grpc.StatusCode.UNAVAILABLE,
    Reason.WORKER_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.WORKER_LOST: grpc.StatusCode.UNAVAILABLE,
    # Not UNAVAILABLE, because gRPC would repeat the call: the caller continues where it stopped.
    Reason.SLOW_READER: grpc.StatusCode.ABORTED,
    Reason.OUT_OF_MEMORY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.CANCELLED: grpc.StatusCode.CANCELLED,
    Reason.SIGNAL_BROKEN: grpc.StatusCode.INTERNAL,
    Reason.INPUT_MISSING: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.DEPENDENCY_FAILED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.WORKER_FAULT: grpc.StatusCode.INTERNAL,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
    Reason.EVENTS_INVALID: grpc.StatusCode.INTERNAL,
    Reason.BUNDLE_INVALID: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.SETTINGS_INVALID: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ADDRESS_IN_USE: grpc.StatusCode.FAILED_PRECONDITION,
}

_REASONS = {reason.value: reason for reason in Reason}


class MessageError(RequestError):
    """A message that breaks a rule of its proto.

    `violations` has at least one pair of a field's path and the rule.
    """

    def __init__(
        self, message: str, violations: tuple[tuple[str, str], ...], reason: Reason = Reason.INVALID_REQUEST
    ) -> None:
        super().__init__(message, reason, {"field": violations[0][0]})
        self.violations = violations


def error_to_status_proto(error: MotetError, request_id: str = "") -> status_pb2.Status:
    """Return the status of an error, with `ErrorInfo`, `RetryInfo` of an overload, `BadRequest` of a broken message.

    With a request's id, the status has a `RequestInfo`, too. Its `serving_data` is the id of the current trace.
    """
    status = status_pb2.Status(code=CODE_OF[error.reason].value[0], message=_cut(error.message, _MAX_MESSAGE_BYTES))
    values = list(error.metadata.items())[:_MAX_VALUES]
    metadata = {_cut(key, _MAX_VALUE_BYTES): _cut(value, _MAX_VALUE_BYTES) for key, value in values}
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))
    if isinstance(error, OverloadedError):
        delay = Duration()
        delay.FromNanoseconds(round(error.retry_after * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    if error.reason is Reason.QUOTA_EXCEEDED:
        failure = error_details_pb2.QuotaFailure()
        failure.violations.add(subject=metadata.get("quota", ""), description=status.message)
        status.details.add().Pack(failure)
    if isinstance(error, MessageError):
        bad = error_details_pb2.BadRequest()
        for field, description in error.violations[:_MAX_VALUES]:
            bad.field_violations.add(
                field=_cut(field, _MAX_VALUE_BYTES), description=_cut(description, _MAX_VALUE_BYTES)
            )
        status.details.add().Pack(bad)
    if request_id:
        info = error_details_pb2.RequestInfo(request_id=request_id, serving_data=current_trace_id())
        status.details.add().Pack(info)
    return status


def error_from_status_proto(status: status_pb2.Status) -> MotetError:
    """Return the error of a status. A status without a known reason becomes a `FaultError` or the like, by its code."""
    info, retry, request = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.RequestInfo()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(retry) or detail.Unpack(request)
    error = _error_of_details(status, info, retry)
    if _TRACE_ID.fullmatch(request.serving_data):
        error.trace_id = request.serving_data
    return error


def _error_of_details(
    status: status_pb2.Status, info: error_details_pb2.ErrorInfo, retry: error_details_pb2.RetryInfo
) -> MotetError:
    if info.domain != DOMAIN or info.reason not in _REASONS:
        return _error_of_code(_code_of_number(status.code), received=False, peer="the service")
    reason, metadata = _REASONS[info.reason], dict(info.metadata)
    if retry.HasField("retry_delay"):
        return OverloadedError(status.message, reason, metadata, retry.retry_delay.ToNanoseconds() / 1e9)
    return error_of(reason, status.message, metadata)


def error_from_rpc(
    error: grpc.aio.AioRpcError, *, received: bool = False, peer: str = "the service", request_id: str = ""
) -> MotetError:
    """Return the error of a failed call: the error the server sent, or else one for the status code of gRPC.

    `received` is true if a response arrived before the failure. `peer` names the other side in the message.
    `request_id` becomes that of the error.
    """
    result = _error_from_rpc(error, received, peer)
    result.request_id = request_id
    return result


def is_write_failure(error: grpc.aio.AioRpcError) -> bool:
    """Return whether grpc.aio reports a failed write in place of the status of the peer."""
    return error.code() is grpc.StatusCode.INTERNAL and _WRITE_FAILED in (error.debug_error_string() or "")


def _error_from_rpc(error: grpc.aio.AioRpcError, received: bool, peer: str) -> MotetError:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                break
            return error_from_status_proto(status)
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and _METADATA_TOO_LARGE in (error.details() or ""):
        limit = f"{MAX_METADATA_BYTES // 2**10} KiB"
        return RequestError(
            f"the metadata of the call to {peer}, such as a token, are larger than {limit}", Reason.INPUT_TOO_LARGE
        )
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and _RECEIVED in (error.details() or ""):
        return FaultError(f"{peer} sent a message that is larger than 4 MiB")
    if is_write_failure(error):
        return RetryableError(f"{peer} ended the call before it had the whole request; try again", Reason.WORKER_LOST)
    if error.code() is grpc.StatusCode.UNAVAILABLE and not received:
        return RetryableError(f"{peer} {_advice(error.details() or '')}", Reason.WORKER_UNAVAILABLE)
    return _error_of_code(error.code(), received, peer)


def _advice(details: str) -> str:
    """Return the end of the message about a peer without a connection, from gRPC's text."""
    if _HANDSHAKE_FAILED.search(details):
        return "cannot be reached over TLS; check the name in its certificate and the trusted authorities"
    if _CONNECTION_CLOSED in details:
        return "cannot be reached; check that it is running, and if it requires TLS or a client certificate"
    return "cannot be reached; check that it is running"


def _error_of_code(code: grpc.StatusCode, received: bool, peer: str) -> MotetError:
    match code:
        case grpc.StatusCode.UNAVAILABLE if received:
            return RetryableError(f"the connection to {peer} was lost; try again", Reason.WORKER_LOST)
        case grpc.StatusCode.UNAVAILABLE:
            return RetryableError(f"{peer} cannot be reached; check that it is running", Reason.WORKER_UNAVAILABLE)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineError(f"{peer} did not respond in time; allow more time or request less")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return RequestError(f"a message to or from {peer} is larger than 4 MiB", Reason.INPUT_TOO_LARGE)
        case grpc.StatusCode.CANCELLED:
            # This caller did not cancel: it would get `asyncio.CancelledError`. For a generation that was cancelled by
            # another caller, the server would send a reason.
            return RetryableError(f"{peer}, or a proxy, dropped the call; try again", Reason.WORKER_LOST)
        case grpc.StatusCode.UNIMPLEMENTED:
            return FaultError(f"{peer} does not have this method; check its address and version")
        case _:
            return FaultError(f"{peer} failed with status {code.name}")


def _cut(text: str, size: int) -> str:
    """Return the text, cut to at most `size` bytes as UTF-8. Characters that cannot be printed become escapes.

    Errors repeat names and other values of the caller. Programs write errors to logs and terminals.
    """
    text = text[:size]
    if not text.isprintable():
        text = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return text.encode()[:size].decode(errors="ignore")


def _code_of_number(number: int) -> grpc.StatusCode:
    return next((code for code in grpc.StatusCode if code.value[0] == number), grpc.StatusCode.UNKNOWN)


def public_error(error: Exception) -> MotetError:
    """Return the error that a caller may see: a `MotetError` as it is, any other error only in the log."""
    if isinstance(error, MotetError):
        return error
    _LOG.error("a call failed unexpectedly", exc_info=error)
    return FaultError("internal error", Reason.INTERNAL)


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: MotetError) -> NoReturn:
    """End a call with the status of an error."""
    status = error_to_status_proto(error, current_request_id())
    await context.abort(CODE_OF[error.reason], status.message, ((DETAILS_KEY, status.SerializeToString()),))
