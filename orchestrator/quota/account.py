"""The account of one tenant: what it has used, and what it may still use."""

from __future__ import annotations

import logging

from motet.core.errors import OverloadedError, Reason
from motet.core.service import Quota
from motet.core.telemetry.families import access_metrics
from motet.core.telemetry.prometheus import labelled
from orchestrator.quota.limits import QuotaLimits
from orchestrator.quota.token_bucket import TokenBucket

_LOG = logging.getLogger(__name__)

RUNNING, GENERATIONS, TOKENS, ENCODER_SECONDS, DECODER_SECONDS, ARTIFACT_BYTES = (
    "running_generations",
    "generations_per_minute",
    "tokens_per_minute",
    "encoder_seconds_per_minute",
    "decoder_seconds_per_minute",
    "artifact_bytes",
)
"""The names of the quotas. That of decoder seconds is followed by a slash and the modality."""

_RETRY_RUNNING, _MAX_RETRY = 1.0, 3600.0
"""Seconds after which a caller should try again if too many generations run, and at most."""


class Account:
    """The use of one tenant, of the class `quota_class` with `limits`.

    Work is refused only before it starts. Its cost is charged when it is known, also if the work is cancelled or fails.
    Metrics count the costs of all tenants of the class together.
    """

    def __init__(self, quota_class: str, limits: QuotaLimits) -> None:
        self._running = 0
        self._generations: TokenBucket | None = None
        self._tokens: TokenBucket | None = None
        self._encoder_seconds: TokenBucket | None = None
        self._decoder_seconds: dict[str, TokenBucket] = {}
        self.change_limits(quota_class, limits)

    def change_limits(self, quota_class: str, limits: QuotaLimits) -> None:
        """Use the limits of a class from now on. What was used stays used. A quota that had no limit begins full."""
        self._class = quota_class
        self.limits = limits
        self._generations = _changed(self._generations, limits.generations_per_minute)
        self._tokens = _changed(self._tokens, limits.tokens_per_minute)
        self._encoder_seconds = _changed(self._encoder_seconds, limits.encoder_seconds_per_minute)
        buckets = self._decoder_seconds
        self._decoder_seconds = {
            modality: _bucket(buckets.get(modality), rate)
            for modality, rate in limits.decoder_seconds_per_minute.items()
        }

    @property
    def idle(self) -> bool:
        """True if the account is as good as a new one."""
        buckets = (self._generations, self._tokens, self._encoder_seconds, *self._decoder_seconds.values())
        return not self._running and all(bucket is None or bucket.amount == bucket.per_minute for bucket in buckets)

    @property
    def running(self) -> bool:
        """True if a generation runs."""
        return self._running > 0

    def check_generation(self) -> None:
        """Raise `OverloadedError` with the reason QUOTA_EXCEEDED if no generation may start now."""
        limit = self.limits.running_generations
        if limit is not None and self._running >= limit:
            raise self._exceeded(RUNNING, limit, _RETRY_RUNNING, "wait until one of your generations ends")
        self._check(GENERATIONS, self._generations, 1.0)
        self._check(TOKENS, self._tokens)

    def check_encoding(self) -> None:
        """Raise `OverloadedError` with the reason QUOTA_EXCEEDED if no media of a prompt may be encoded now."""
        self._check(ENCODER_SECONDS, self._encoder_seconds)

    def start_generation(self) -> None:
        """Count a generation as running, until `end_generation`."""
        if self._generations is not None:
            self._generations.charge(1.0)
        self._running += 1

    def end_generation(self) -> None:
        """Count a generation as ended."""
        self._running -= 1

    def check_media(self, modality: str, stored: int) -> None:
        """Raise `OverloadedError` with the reason QUOTA_EXCEEDED if no media of the modality may be decoded now.

        The size of a result is not known before. No media are decoded once `stored` bytes leave no room for a byte.
        """
        self.check_bytes(stored, 1)
        self._check(f"{DECODER_SECONDS}/{modality}", self._decoder_seconds.get(modality))

    def check_bytes(self, stored: int, size: int) -> None:
        """Raise `OverloadedError` with the reason QUOTA_EXCEEDED if `size` bytes do not fit beside those stored."""
        limit = self.limits.artifact_bytes
        if limit is not None and stored + size > limit:
            raise self._exceeded(ARTIFACT_BYTES, limit, _RETRY_RUNNING, "delete artifacts that you no longer need")

    def charge_tokens(self, tokens: int) -> None:
        """Charge tokens of the language model."""
        labelled(access_metrics.CHARGED_TOKENS, self._class).inc(tokens)
        if self._tokens is not None:
            self._tokens.charge(tokens)

    def charge_encoding(self, seconds: float) -> None:
        """Charge predicted seconds of the encoder."""
        labelled(access_metrics.CHARGED_ENCODER_SECONDS, self._class).inc(seconds)
        if self._encoder_seconds is not None:
            self._encoder_seconds.charge(seconds)

    def charge_media(self, modality: str, seconds: float) -> None:
        """Charge predicted seconds of a decoder."""
        labelled(access_metrics.CHARGED_DECODER_SECONDS, self._class, modality).inc(seconds)
        if (bucket := self._decoder_seconds.get(modality)) is not None:
            bucket.charge(seconds)

    def quotas(self, stored: int) -> list[Quota]:
        """Return the quotas that have a limit. `stored` are the bytes of the tenant's artifacts."""
        limits, quotas = self.limits, []
        if limits.running_generations is not None:
            quotas.append(Quota(RUNNING, limits.running_generations, limits.running_generations - self._running))
        for name, bucket in (
            (GENERATIONS, self._generations),
            (TOKENS, self._tokens),
            (ENCODER_SECONDS, self._encoder_seconds),
            *((f"{DECODER_SECONDS}/{modality}", bucket) for modality, bucket in self._decoder_seconds.items()),
        ):
            if bucket is not None:
                quotas.append(Quota(name, bucket.per_minute, bucket.amount))
        if limits.artifact_bytes is not None:
            quotas.append(Quota(ARTIFACT_BYTES, limits.artifact_bytes, limits.artifact_bytes - stored))
        return quotas

    def _check(self, name: str, bucket: TokenBucket | None, cost: float = 0.0) -> None:
        if bucket is not None and (seconds := bucket.wait(cost)) > 0:
            raise self._exceeded(name, bucket.per_minute, seconds, f"try again in {seconds:.1f} s")

    def _exceeded(self, name: str, limit: float, retry_after: float, advice: str) -> OverloadedError:
        quota = name.partition("/")[0]
        labelled(access_metrics.QUOTA_REFUSED, self._class, quota).inc()
        _LOG.info("work beyond a quota was refused", extra={"quota": name, "quota_class": self._class, "limit": limit})
        return OverloadedError(
            f"the quota {name} of {limit:g} is used up; {advice}",
            Reason.QUOTA_EXCEEDED,
            {"quota": name, "limit": f"{limit:g}"},
            retry_after=min(_MAX_RETRY, retry_after),
        )


def _changed(bucket: TokenBucket | None, rate: float | None) -> TokenBucket | None:
    return None if rate is None else _bucket(bucket, rate)


def _bucket(bucket: TokenBucket | None, rate: float) -> TokenBucket:
    """Return the bucket with a rate, or a new one."""
    if bucket is None:
        return TokenBucket(rate)
    bucket.change_rate(rate)
    return bucket
