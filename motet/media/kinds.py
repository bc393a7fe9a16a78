"""The supported media types, their modalities, and their detection from the first bytes."""

from __future__ import annotations

PNG, JPEG, WEBP = "image/png", "image/jpeg", "image/webp"
WAV, FLAC, MP3, OGG = "audio/wav", "audio/flac", "audio/mpeg", "audio/ogg"
MP4, MOV, WEBM, MKV = "video/mp4", "video/quicktime", "video/webm", "video/x-matroska"

MODALITIES = {
    **dict.fromkeys((PNG, JPEG, WEBP), "image"),
    **dict.fromkeys((WAV, FLAC, MP3, OGG), "audio"),
    **dict.fromkeys((MP4, MOV, WEBM, MKV), "video"),
}

# Other names of the types, in use by browsers and operating systems.
_ALIASES = {
    "image/jpg": JPEG,
    "audio/x-wav": WAV,
    "audio/wave": WAV,
    "audio/vnd.wave": WAV,
    "audio/x-flac": FLAC,
    "audio/mp3": MP3,
    "audio/opus": OGG,
    "application/ogg": OGG,
    "video/x-m4v": MP4,
    "video/matroska": MKV,
}
_UNDECLARED = ("", "application/octet-stream")
# The brands of ISO base media files with video. HEIC, AVIF and M4A use the same container with other brands.
_MP4_BRANDS = frozenset(
    b"isom iso2 iso3 iso4 iso5 iso6 iso7 iso8 iso9 mp41 mp42 avc1 M4VH M4VP dash MSNV XAVC 3gp4 3gp5 3gp6 cmfc".split()
) | {b"M4V "}
# QuickTime files of before the brands begin with another box.
_QUICKTIME_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


def normalise(media_type: str) -> str:
    """Return a declared type in lower case, without parameters and aliases. Return "" for an unknown type."""
    name = media_type.partition(";")[0].strip().lower()
    return "" if name in _UNDECLARED else _ALIASES.get(name, name)


def modality_of(media_type: str) -> str | None:
    """Return the modality of a media type, or None for an unsupported type."""
    return MODALITIES.get(normalise(media_type))


def sniff(data: bytes) -> str | None:
    """Return the media type that the first bytes claim, or None for an unsupported type.

    Only a decoding proves the claim.
    """
    head = data[:64]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(b"RIFF"):
        return {b"WEBP": WEBP, b"WAVE": WAV}.get(head[8:12])
    if head.startswith(b"fLaC"):
        return FLAC
    if head.startswith(b"OggS"):
        return OGG
    if head[4:8] == b"ftyp":
        return MOV if head[8:12] == b"qt  " else MP4 if head[8:12] in _MP4_BRANDS else None
    if head[4:8] in _QUICKTIME_BOXES and head[0] < 0x20:  # The box has less than 512 MiB, so this is no text.
        return MOV
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return WEBM if b"webm" in head else MKV if b"matroska" in head else None
    return MP3 if head.startswith(b"ID3") or _is_mp3_frame(head) else None


def _is_mp3_frame(head: bytes) -> bool:
    """Return True if the bytes start with an MPEG layer III frame header: 11 sync bits, and no reserved rate."""
    return (
        len(head) >= 4
        and head[0] == 0xFF
        and head[1] & 0xE0 == 0xE0
        and head[1] & 0x06 == 0x02
        and head[2] & 0xF0 not in (0x00, 0xF0)
        and head[2] & 0x0C != 0x0C
    )
