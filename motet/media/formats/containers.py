"""The structure of files with clips, as far as the demuxers do not check it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from motet.media.reading import DecodeError

_NEEDED = (b"moov", b"moof", b"mdat")
_SEGMENT = b"\x18\x53\x80\x67"


def check_boxes(data: bytes) -> None:
    """Raise `DecodeError` if an ISO or QuickTime file ends inside a box of its index or of its media.

    The demuxer would read the media before the cut without an error.
    """
    offset = 0
    while offset + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, offset)
        if size == 1 and offset + 16 <= len(data):
            size = struct.unpack_from(">Q", data, offset + 8)[0]
        if name in _NEEDED and offset + size > len(data):
            raise DecodeError("truncated")
        if size < 8:
            return  # Size 0 means that the box ends with the file.
        offset += size


def check_segment(data: bytes) -> None:
    """Raise `DecodeError` if a Matroska file ends inside its segment. The length of a live stream is unknown."""
    for name, start, length in _elements(data):
        if name == _SEGMENT and length is not None and start + length > len(data):
            raise DecodeError("truncated")


def _elements(data: bytes) -> Iterator[tuple[bytes, int, int | None]]:
    """Yield the id, the start of the content and the length of the elements (RFC 8794) up to the first segment."""
    offset = 0
    while offset + 12 <= len(data):
        start = offset + _width(data[offset])
        name, first = data[offset:start], data[start]
        offset = start + _width(first)
        length = int.from_bytes(data[start:offset]) & ((1 << 7 * (offset - start)) - 1)
        is_known = length != (1 << 7 * (offset - start)) - 1
        yield name, offset, length if is_known else None
        if name == _SEGMENT or not is_known:
            return
        offset += length


def _width(first: int) -> int:
    """Return the number of bytes of a number, from its first byte."""
    return 9 - first.bit_length() if first else 9
