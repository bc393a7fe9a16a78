"""The supported media types, their modalities, and their detection from the first bytes."""

from __future__ import annotations

PNG, JPEG, WEBP = "image/png", "image/jpeg", "image/webp"
WAV, FLAC, MP3, OGG = "audio/wav", "audio/flac", "audio/mpeg", "audio/ogg"
MP4, WEBM = "video/mp4", "video/webm"

MODALITIES = {
    **dict.fromkeys((PNG, JPEG, WEBP), "image"),
    **dict.fromkeys((WAV, FLAC, MP3, OGG), "audio"),
    **dict.fromkeys((MP4, WEBM), "video"),
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
}
_UNDECLARED = ("", "application/octet-stream")
# The brands of ISO base media files with video. HEIC, AVIF and M4A use the same container with other brands.
_MP4_BRANDS = (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"M4V ", b"dash", b"MSNV")


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
        return MP4 if head[8:12] in _MP4_BRANDS else None
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return WEBM if b"webm" in head else None
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
