"""The choices that turn media into an encoder's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The choices of an encoder's preprocessing. The defaults are those of ImageBind's reference (docs/adr/0026)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": False}

    channels: Literal["first", "mean"] = "first"
    """Several channels become one: the first channel, or the mean of all channels."""
    transparency: Literal["drop", "white"] = "drop"
    """Transparent pixels have their stored colour, or are on white."""
    orientation: Literal["stored", "upright"] = "stored"
    """A picture has its stored orientation, or the camera's. A clip always has the camera's."""
    clip_starts: Literal["to_end", "before_end"] = "to_end"
    """The last of n clips ends with the recording, or starts at (n - 1) / n of the possible time (pytorchvideo 0.1.5).
    NExT-GPT v0 was trained with "before_end"."""
    rounding: Literal["exact", "float"] = "exact"
    """Clip starts and scaled sides are computed exactly, or as in Motet 0.1: sometimes one sample or pixel less."""


AS_SHOWN = Preprocessing(channels="mean", transparency="white", orientation="upright")
"""Media as a viewer or player presents them."""
