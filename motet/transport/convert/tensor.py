"""Tensors on the wire."""

from __future__ import annotations

from motet.core.tensors import Tensor
from motet.internal.v1 import tensor_pb2 as pb


def tensor_to_proto(tensor: Tensor) -> pb.Tensor:
    """Return the tensor as a message."""
    return pb.Tensor(dtype=tensor.dtype, shape=tensor.shape, data=tensor.data)


def tensor_from_proto(tensor: pb.Tensor) -> Tensor:
    """Return the tensor of a message. Raises `RequestError` if dtype, shape and data do not agree."""
    return Tensor(tensor.dtype, tuple(tensor.shape), tensor.data)
