"""The metrics of all servers. The client does not import this module and needs no Prometheus library.

Metric names are `motet_*` with base units. Label values are from closed sets: methods, codes, reasons, states,
and the modalities of the bundle. No label holds an id or a prompt. The label `replica` is an ordinal in its pool.
A process exports the families of its service, see `ServiceMetrics`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cache
from typing import TypeVar

import prometheus_client
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Info
from prometheus_client.metrics import MetricWrapperBase

Metric = TypeVar("Metric", Counter, Gauge, Histogram)


class ServiceKind(StrEnum):
    """The kind of a service."""

    ORCHESTRATOR = "orchestrator"
    ENCODER = "encoder"
    LANGUAGE_MODEL = "llm"
    DECODER = "decoder"


class SparseGauge(Gauge):
    """A gauge that exports no sample for labels whose function returns NaN: there is no value at the moment."""

    def collect(self) -> Iterable[prometheus_client.Metric]:
        """Return the metric without the samples that are NaN."""
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not math.isnan(sample.value)]
            yield metric


# The creation times of samples would double the number of series.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

BUILD = Info(
    "motet_build", "The versions of the process: motet, python, grpc, and the component: the kind of its service."
)
BUNDLE = Info("motet_bundle", "The bundle that the process serves: its name and its digest.")
LOAD_SECONDS = Gauge(
    "motet_load_duration_seconds", "Wall time from the start of the service to its first readiness, with all weights."
)

CALL_SECONDS = Histogram(
    "motet_call_duration_seconds",
    "Wall time of gRPC calls, including the time in the queue.",
    ["method", "code"],
    buckets=_SECONDS,
)
CALLS_RUNNING = Gauge("motet_calls_running", "Running calls.")
CALLS_QUEUED = Gauge("motet_calls_queued", "Queued calls.")
CALLS_REFUSED = Counter("motet_calls_refused_total", "Calls refused before any work.", ["reason"])
SLOW_READERS = Counter(
    "motet_slow_readers_total", "Streams that were stopped because their caller did not read the responses."
)
HEALTH_SERVING = Gauge(
    "motet_health_serving",
    "1 if the health of a name is SERVING, else 0. service is the name in grpc.health.v1; empty is the whole process.",
    ["service"],
)
DRAINING = Gauge("motet_draining", "1 while the process refuses new calls because it will stop, else 0.")

QUOTA_REFUSED = Counter(
    "motet_quota_refused_total", "Work refused because a tenant's quota was used up.", ["quota_class", "quota"]
)
CHARGED_TOKENS = Counter(
    "motet_quota_tokens_total", "Tokens of the language model charged to tenants of a class.", ["quota_class"]
)
CHARGED_DECODER_SECONDS = Counter(
    "motet_quota_decoder_seconds_total",
    "Predicted seconds of denoising charged to tenants of a class, those of cancelled work included.",
    ["quota_class", "modality"],
)

LOG_LINES_DROPPED = Counter(
    "motet_log_lines_dropped_total", "Log lines that were dropped because the reader of standard error is too slow."
)

GENERATIONS_RUNNING = Gauge("motet_generations_running", "Running generations.")
GENERATION_SECONDS = Histogram(
    "motet_generation_duration_seconds",
    "Wall time of generations, from accepted to done.",
    ["state"],
    buckets=_SECONDS,
)
FIRST_TEXT_SECONDS = Histogram(
    "motet_time_to_first_text_seconds", "Wall time of generations, from accepted to the first text.", buckets=_SECONDS
)
PARTS = Counter("motet_parts_total", "Ended parts. reason is empty for complete parts.", ["modality", "reason"])
MEDIA_JOBS_RUNNING = Gauge("motet_media_jobs_running", "Running media jobs of generations.", ["modality"])
MEDIA_JOB_SECONDS = Histogram(
    "motet_media_job_duration_seconds",
    "Wall time of media jobs, from all inputs ready to media.",
    ["modality"],
    buckets=_SECONDS,
)
MEDIA_JOB_RETRIES = Counter(
    "motet_media_job_retries_total",
    "Second and later attempts of media jobs, after a worker's error or silence.",
    ["modality"],
)
POOL_REPLICAS = Gauge(
    "motet_pool_replicas",
    "Replicas of a pool. state is ready, stalled, ejected, draining, other_bundle or unreachable. Only ready ones get "
    "all calls.",
    ["pool", "state"],
)
POOL_REPLICA_INFO = Gauge(
    "motet_pool_replica_info", "1 for each replica of a pool, with its address.", ["pool", "replica", "address"]
)
POOL_REPLICA_READY = Gauge(
    "motet_pool_replica_ready", "1 if the state of a replica is ready, else 0.", ["pool", "replica"]
)
POOL_OUTSTANDING_SECONDS = SparseGauge(
    "motet_pool_outstanding_seconds",
    "Predicted seconds of work that a replica has left, if its state is ready.",
    ["pool", "replica"],
)
POOL_QUEUE_SECONDS = Gauge("motet_pool_queue_seconds", "Predicted seconds of work in the pool's queue.", ["pool"])
POOL_DEMAND_SECONDS = Gauge(
    "motet_pool_demand_seconds",
    "Predicted seconds of work of a pool's calls that wait, run or have a reservation. 0 only if there are none.",
    ["pool"],
)
POOL_OLDEST_WAIT_SECONDS = Gauge(
    "motet_pool_oldest_wait_seconds", "Age of the oldest call that waits for a replica of the pool.", ["pool"]
)
POOL_REFUSED = Counter("motet_pool_refused_total", "Calls refused because the queue was full.", ["pool"])
POOL_EJECTIONS = Counter(
    "motet_pool_ejections_total", "Ejections of a replica after consecutive failures.", ["pool", "replica"]
)
POOL_HEDGES = Counter(
    "motet_pool_hedges_total",
    "Second attempts of calls whose worker was silent. outcome is won (the second attempt led) or lost.",
    ["pool", "outcome"],
)
TOKENS = Counter("motet_llm_tokens_total", "Tokens of the language model. direction is input or output.", ["direction"])
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
DENOISING_STEPS = Counter(
    "motet_denoising_steps_total",
    "Denoising steps reported to generations. A shared step counts once per generation.",
    ["modality"],
)
DECODER_JOBS = Gauge(
    "motet_decoder_jobs", "Jobs of a decoder. state is running (in the current step) or waiting.", ["modality", "state"]
)
DECODER_BATCH_SIZE = Histogram(
    "motet_decoder_batch_size",
    "Jobs per batched denoising step.",
    ["modality"],
    buckets=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32),
)
DECODER_STEP_SECONDS = Histogram(
    "motet_decoder_step_duration_seconds",
    "Wall time of batched denoising steps.",
    ["modality"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
TLS_CERTIFICATE_EXPIRY = Gauge(
    "motet_tls_certificate_expiry_timestamp_seconds",
    "Unix time at which a certificate in use expires. file is cert (with its chain), client_ca or ca (the last one).",
    ["file"],
)
TLS_RELOADS = Counter(
    "motet_tls_reloads_total",
    "Changes of the certificates' files. result is used, or refused: the old certificates stay in use.",
    ["result"],
)
AUTHENTICATIONS = Counter(
    "motet_authentications_total",
    "Authentications of calls. kind is the kind of the credentials. outcome is accepted, or why they were refused.",
    ["kind", "outcome"],
)
ACCESS_RELOADS = Counter(
    "motet_access_reloads_total",
    "Changes of the files of API keys, token keys and quotas. result is used, or refused: the old ones stay in use.",
    ["file", "result"],
)
MEDIA_BYTES = Counter(
    "motet_media_bytes_total", "Bytes of encoded media. direction is input or output.", ["modality", "direction"]
)
MEDIA_CONFINEMENT = Gauge(
    "motet_media_confinement", "1 if a layer confines the children that decode media, else 0.", ["layer"]
)
MEDIA_FORBIDDEN_CALLS = Counter(
    "motet_media_forbidden_calls_total",
    "Decoding children that were killed for a system call that no codec makes. Each is an attack or a defect.",
)
EMBEDDING_CACHE = Counter(
    "motet_encoder_cache_total",
    "Media to encode. outcome is hit, joined (an encoding in progress) or miss.",
    ["outcome"],
)
MEDIA_CACHE = Counter(
    "motet_decoder_cache_total",
    "Decode jobs. outcome is hit, joined (a job in progress) or miss.",
    ["modality", "outcome"],
)


_OF_KINDS: Mapping[tuple[ServiceKind, ...], tuple[MetricWrapperBase, ...]] = {
    (ServiceKind.ORCHESTRATOR,): (
        QUOTA_REFUSED,
        CHARGED_TOKENS,
        CHARGED_DECODER_SECONDS,
        GENERATIONS_RUNNING,
        GENERATION_SECONDS,
        FIRST_TEXT_SECONDS,
        PARTS,
        MEDIA_JOBS_RUNNING,
        MEDIA_JOB_SECONDS,
        MEDIA_JOB_RETRIES,
        POOL_REPLICAS,
        POOL_REPLICA_INFO,
        POOL_REPLICA_READY,
        POOL_OUTSTANDING_SECONDS,
        POOL_QUEUE_SECONDS,
        POOL_DEMAND_SECONDS,
        POOL_OLDEST_WAIT_SECONDS,
        POOL_REFUSED,
        POOL_EJECTIONS,
        POOL_HEDGES,
        TOKENS,
        DENOISING_STEPS,
        AUTHENTICATIONS,
        ACCESS_RELOADS,
        MEDIA_BYTES,
        EMBEDDING_CACHE,
        MEDIA_CACHE,
    ),
    (ServiceKind.LANGUAGE_MODEL,): (
        FORWARDS,
        SEQUENCES_RUNNING,
        SEQUENCES_WAITING,
        KV_TOKENS_USED,
        KV_TOKENS_LIMIT,
        PREFIX_TOKENS,
    ),
    (ServiceKind.DECODER,): (DECODER_JOBS, DECODER_BATCH_SIZE, DECODER_STEP_SECONDS),
    (ServiceKind.ORCHESTRATOR, ServiceKind.ENCODER, ServiceKind.DECODER): (MEDIA_CONFINEMENT, MEDIA_FORBIDDEN_CALLS),
}
"""The families that not every process has, by the kinds of services that have them."""


def kinds_of(family: MetricWrapperBase) -> tuple[ServiceKind, ...]:
    """Return the kinds of services whose processes export a family."""
    return next((kinds for kinds, own in _OF_KINDS.items() if family in own), tuple(ServiceKind))


class ServiceMetrics:
    """The metrics of a service's process.

    All families are declared in this module, which every process imports. A family without labels has a sample from the
    start, so without this class every process would export zeros for what it never does.
    """

    def __init__(self, kind: ServiceKind) -> None:
        every = (family for families in _OF_KINDS.values() for family in families)
        foreign = (family for family in every if kind not in kinds_of(family))
        self._foreign = {described.name for family in foreign for described in family.describe()}

    def collect(self) -> Iterable[prometheus_client.Metric]:
        """Return the families of the service, and those of every process."""
        return (metric for metric in REGISTRY.collect() if metric.name not in self._foreign)


@cache
def labelled(metric: Metric, *labels: str) -> Metric:
    """Return `metric.labels(*labels)` from a cache: `labels` takes five times as long as an increment."""
    return metric.labels(*labels)
