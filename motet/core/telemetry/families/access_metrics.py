"""The metrics of authentication and quotas."""

from __future__ import annotations

from prometheus_client import Counter

AUTHENTICATIONS = Counter(
    "motet_authentications_total",
    "Authentications of calls. kind is the kind of the credentials. outcome is accepted, or why they were refused.",
    ["kind", "outcome"],
)
QUOTA_REFUSED = Counter(
    "motet_quota_refused_total", "Work refused because a tenant's quota was used up.", ["quota_class", "quota"]
)
CHARGED_TOKENS = Counter(
    "motet_quota_tokens_total", "Tokens of the language model charged to tenants of a class.", ["quota_class"]
)
CHARGED_ENCODER_SECONDS = Counter(
    "motet_quota_encoder_seconds_total",
    "Predicted seconds of the encoder charged to tenants of a class, those of cancelled work included.",
    ["quota_class"],
)
CHARGED_DECODER_SECONDS = Counter(
    "motet_quota_decoder_seconds_total",
    "Predicted seconds of denoising charged to tenants of a class, those of cancelled work included.",
    ["quota_class", "modality"],
)
