"""Tensors on the wire: as they are."""

from __future__ import annotations

from motet.core.tensors import Tensor
from motet.internal.v1 import tensor_pb2 as pb


def tensor_to_proto(tensor: Tensor) -> pb.Tensor:
    """The tensor as a message."""
    return pb.Tensor(dtype=tensor.dtype, shape=tensor.shape, data=tensor.data)


def tensor_from_proto(tensor: pb.Tensor) -> Tensor:
    """The message's tensor. Raises `RequestError` when dtype, shape and data do not agree."""
    return Tensor(tensor.dtype, tuple(tensor.shape), tensor.data)
