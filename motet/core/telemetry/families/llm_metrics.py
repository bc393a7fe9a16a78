"""The metrics of the language model."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

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
