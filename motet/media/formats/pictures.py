"""The reader of pictures."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

# Pillow imports these modules late. A confined process cannot open files, so they are imported here. Pillow reads EXIF,
# which contains the camera's orientation, with its TIFF plugin.
from PIL import Image, ImageCms, ImageFile, ImageOps, ImagePalette, TiffImagePlugin  # noqa: F401
from PIL.JpegImagePlugin import JpegImageFile
from PIL.MpoImagePlugin import MpoImageFile  # noqa: F401
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from motet.media.kinds import JPEG, PNG, WEBP
from motet.media.reading import DecodeError, Facts, Reading, check_sides

if TYPE_CHECKING:
    from collections.abc import Sequence

# `Image.open` would try other formats too. A class can reach only the decoder of its own format.
_FILES: dict[str, type[ImageFile.ImageFile]] = {PNG: PngImageFile, JPEG: JpegImageFile, WEBP: WebPImageFile}

_SECONDS_PER_MEGAPIXEL = 0.05
_SECONDS_PER_SCAN = 0.003  # per megapixel, in a progressive JPEG
_SCAN = b"\xff\xda"


def read(data: bytes, reading: Reading) -> tuple[Facts, Sequence[bytes]]:
    """Read the first picture of a file. The elements are rows of RGB."""
    if reading.media_type == WEBP:
        check_sides(*_webp_sides(data), reading.limits)
    picture: Image.Image = _FILES[reading.media_type](io.BytesIO(data))
    check_sides(picture.width, picture.height, reading.limits)
    scans = data.count(_SCAN) if reading.media_type == JPEG else 0
    reading.promise(picture.width * picture.height / 1e6 * (_SECONDS_PER_MEGAPIXEL + _SECONDS_PER_SCAN * scans))
    picture = _flat(picture, on_white=reading.preprocessing.transparency == "white")
    if reading.preprocessing.orientation == "upright":
        picture = ImageOps.exif_transpose(picture)
    picture = picture.convert("RGB")
    return {"width": picture.width, "height": picture.height}, [picture.tobytes()]


def _webp_sides(data: bytes) -> tuple[int, int]:
    """Return the canvas size in a WebP's header (RFC 9649). libwebp allocates the canvas when it opens the file."""
    chunk, body = data[12:16], data[20:30]
    if len(body) < 10:
        raise DecodeError("truncated")
    if chunk == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _flat(picture: Image.Image, on_white: bool) -> Image.Image:
    """Return the first picture in 8 bits: 16 bits are scaled, and transparent pixels are put on white if requested."""
    if picture.mode.startswith("I"):
        # A conversion of 16-bit grey to 8 bits would clip the values instead of scaling them.
        picture = picture.convert("I").point(lambda value: value / 257).convert("L")
    if on_white and (picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info):
        layer = picture.convert("RGBA")
        flat = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        flat.alpha_composite(layer)
        flat.info = picture.info
        picture = flat
    return picture
