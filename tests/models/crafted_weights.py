"""Safetensors files that are broken in one way each."""

from __future__ import annotations

import json
import struct
from typing import Any


def tensor(start: int, end: int, dtype: str = "F32", shape: tuple[int, ...] = (2,)) -> dict[str, Any]:
    """Return the entry of a tensor in a header. `start` and `end` are offsets in the data, in bytes."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def file_of(header: Any, data: bytes = bytes(8)) -> bytes:
    """Return a safetensors file with any header: bytes, or an object that becomes JSON."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


_VALID = file_of({"a": tensor(0, 8)})
_ENTRY = b'"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'

CRAFTED: dict[str, bytes] = {
    "empty": b"",
    "a length of three bytes": b"\x08\x00\x00",
    "a length without a header": struct.pack("<Q", 2),
    "a length beyond the file": struct.pack("<Q", 10**9) + b"{}",
    "the maximum length": struct.pack("<Q", 2**64 - 1) + b"{}",
    "a length of NaN": struct.pack("<d", float("nan")) + b"{}",
    "a truncated header": _VALID[:20],
    "truncated data": _VALID[:-4],
    "additional data": _VALID + bytes(8),
    "a hole": file_of({"a": tensor(0, 8), "b": tensor(16, 24)}, bytes(24)),
    "overlapping tensors": file_of({"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12)),
    "one place for two tensors": file_of({"a": tensor(0, 8), "b": tensor(0, 8)}),
    "offsets in reverse": file_of({"a": tensor(8, 0)}),
    "a negative offset": file_of({"a": tensor(-8, 0)}),
    "a wrong shape": file_of({"a": tensor(0, 8, shape=(3,))}),
    "a shape that overflows": file_of({"a": tensor(0, 8, shape=(2**62, 2**62))}),
    "a negative shape": file_of({"a": tensor(0, 8, shape=(-2,))}),
    "an unknown dtype": file_of({"a": tensor(0, 8, dtype="F128")}),
    "a header that is not JSON": file_of(b"hello world"),
    "a header that is a list": file_of([1]),
    "a deeply nested header": file_of(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "two tensors of equal name": file_of(b"{" + _ENTRY + b"," + _ENTRY.replace(b"F32", b"I32") + b"}"),
    "a header that is not UTF-8": file_of(b"{" + _ENTRY.replace(b"a", b"\xff", 1) + b"}"),
}
