"""The readers of all media types, for the confined child."""

from __future__ import annotations

from importlib import import_module

from motet.media.kinds import MODALITIES
from motet.media.reading import Reader

_MODULES = {"image": "pictures", "audio": "sounds", "video": "clips"}


def reader_of(media_type: str) -> Reader:
    """Import all modules that the reader of a type needs, and return the reader.

    A confined process cannot open files, so it cannot import them later.
    """
    reader: Reader = import_module(f"motet.media.formats.{_MODULES[MODALITIES[media_type]]}").read
    return reader
