"""A dense array in a portable format."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from math import prod

from motet.core.errors import Reason, RequestError

# NumPy dtype name -> bytes per element. NumPy has no bfloat16; every conditioning fits in float16.
ITEM_SIZES = {"float32": 4, "float16": 2, "int64": 8, "uint8": 1}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A dense array: little-endian, row-major, without padding.

    Raise `RequestError` if dtype, shape and data do not match, so a NumPy view of every tensor is valid.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def __post_init__(self) -> None:
        if self.dtype not in ITEM_SIZES:
            raise RequestError(
                f"a tensor's dtype must be one of {', '.join(ITEM_SIZES)}, not {self.dtype!r}",
                Reason.CONDITIONING_INVALID,
            )
        if any(size < 0 for size in self.shape):
            raise RequestError(f"a tensor's shape must not be negative, got {self.shape}", Reason.CONDITIONING_INVALID)
        expected = prod(self.shape) * ITEM_SIZES[self.dtype]
        if len(self.data) != expected:
            raise RequestError(
                f"a {self.dtype} tensor of shape {self.shape} takes {expected} bytes, got {len(self.data)}",
                Reason.CONDITIONING_INVALID,
            )


_FLOAT_CODES = {"float32": "f", "float16": "e"}


def check_finite(tensor: Tensor, what: str) -> None:
    """Raise `RequestError` if an element is infinite or not a number. `what` names the tensor in the message."""
    code = _FLOAT_CODES.get(tensor.dtype)
    # A sum of finite elements cannot overflow, because a Python float has a larger exponent than both dtypes.
    if code and not math.isfinite(sum(struct.unpack(f"<{prod(tensor.shape)}{code}", tensor.data))):
        raise RequestError(f"{what} holds values that are not finite", Reason.CONDITIONING_INVALID)
