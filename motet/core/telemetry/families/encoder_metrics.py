"""The metrics of the encoder."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ENCODER_FORWARD_SECONDS = Histogram(
    "motet_encoder_forward_duration_seconds",
    "Wall time of forwards of a network of the encoder. Pictures and clips share a network.",
    ["network"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
ENCODER_BATCH_SIZE = Histogram(
    "motet_encoder_batch_size", "Views of media per forward.", ["network"], buckets=(1, 2, 3, 4, 6, 8, 12, 16)
)
ENCODER_ITEMS_WAITING = Gauge(
    "motet_encoder_items_waiting", "Media that wait for a forward, before the last one.", ["network"]
)
EMBEDDING_CACHE = Counter(
    "motet_encoder_cache_total",
    "Media to encode. outcome is hit, joined (an encoding in progress) or miss.",
    ["outcome"],
)
