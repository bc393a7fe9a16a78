"""The error that ends the responses of a call over Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from motet.core.errors import FaultError, MotetError
from motet.transport.status import error_from_status_proto, error_to_status_proto


@dataclass(frozen=True, slots=True)
class Failure:
    """The last response of a failed call. `status` is a serialized `google.rpc.Status`, as in a trailer of gRPC."""

    status: bytes

    @classmethod
    def of(cls, error: MotetError, request_id: str = "") -> Self:
        """Return the failure of a call that ended with an error."""
        return cls(error_to_status_proto(error, request_id).SerializeToString())

    @property
    def error(self) -> MotetError:
        """The error, with the class, the reason and the metadata that it had in the worker."""
        try:
            return error_from_status_proto(status_pb2.Status.FromString(self.status))
        except DecodeError:
            return FaultError("the worker sent a status that cannot be read")
