"""The metrics of the language model."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

FORWARDS = Counter(
    "motet_llm_forwards_total", "Forwards of the language model. Output tokens per forward is the mean batch size."
)
SEQUENCES_RUNNING = Gauge("motet_llm_sequences_running", "Running sequences, in prefill or decode.")
SEQUENCES_WAITING = Gauge("motet_llm_sequences_waiting", "Sequences that wait for KV cache memory.")
KV_TOKENS_USED = Gauge("motet_llm_kv_tokens_used", "Tokens reserved in the KV cache.")
KV_TOKENS_LIMIT = Gauge("motet_llm_kv_tokens_limit", "Capacity of the KV cache, in tokens.")
PREFIX_TOKENS = Counter(
    "motet_llm_prefix_cache_tokens_total",
    "Prompt tokens. result is hit (from the prefix cache) or miss (computed).",
    ["result"],
)
FORWARD_SECONDS = Histogram(
    "motet_llm_forward_duration_seconds",
    "Wall time of forwards of the language model, with the sampling of the next tokens.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
BATCH_SEQUENCES = Histogram(
    "motet_llm_batch_size", "Sequences per forward.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
INTER_TOKEN_SECONDS = Histogram(
    "motet_llm_inter_token_seconds",
    "Wall time between two outputs of a sequence. The tokens of a signal are one output.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
LLM_OLDEST_WAIT_SECONDS = Gauge(
    "motet_llm_oldest_wait_seconds",
    "Age of the oldest sequence that waits for KV cache memory, before the last forward.",
)
