"""The metrics of the amounts of media that workers process."""

from __future__ import annotations

from prometheus_client import Counter

WORK_UNITS = Counter(
    "motet_work_units_total",
    "Work on media: input of the encoder, output of decoders. unit is megapixels, frames or seconds (of sound). "
    "motet_llm_tokens_total has the tokens.",
    ["component", "modality", "unit"],
)
