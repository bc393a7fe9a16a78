"""Metrics of processes as text, and servers of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

ORCHESTRATOR = """\
# TYPE motet_build_info gauge
motet_build_info{component="orchestrator",motet="1"} 1.0
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1000.0
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 10.0
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1.048576e+08
# TYPE motet_health_serving gauge
motet_health_serving{service=""} 1.0
motet_health_serving{service="liveness"} 1.0
# TYPE motet_calls_running gauge
motet_calls_running 2.0
# TYPE motet_generations_running gauge
motet_generations_running 1.0
# TYPE motet_plan_jobs histogram
motet_plan_jobs_bucket{le="+Inf"} 4.0
motet_plan_jobs_count 4.0
motet_plan_jobs_sum 4.0
# TYPE motet_parts_total counter
motet_parts_total{modality="text",reason="",fault=""} 8.0
motet_parts_total{modality="image",reason="",fault=""} 8.0
motet_parts_total{modality="image",reason="WORKER_LOST",fault="server"} 2.0
# TYPE motet_llm_tokens_total counter
motet_llm_tokens_total{direction="output"} 100.0
motet_llm_tokens_total{direction="input"} 20.0
# TYPE motet_decoder_cache_total counter
motet_decoder_cache_total{modality="image",outcome="miss"} 6.0
motet_decoder_cache_total{modality="image",outcome="hit"} 2.0
# TYPE motet_pool_replicas gauge
motet_pool_replicas{pool="image",state="ready"} 1.0
motet_pool_replicas{pool="image",state="ejected"} 1.0
motet_pool_replicas{pool="image",state="draining"} 0.0
# TYPE motet_pool_replica_info gauge
motet_pool_replica_info{pool="image",replica="0",address="10.0.0.1:1"} 1.0
motet_pool_replica_info{pool="image",replica="1",address="10.0.0.2:1"} 1.0
# TYPE motet_pool_replica_ready gauge
motet_pool_replica_ready{pool="image",replica="0"} 1.0
motet_pool_replica_ready{pool="image",replica="1"} 0.0
# TYPE motet_pool_outstanding_seconds gauge
motet_pool_outstanding_seconds{pool="image",replica="0"} 3.0
# TYPE motet_pool_calls gauge
motet_pool_calls{pool="image",state="waiting"} 4.0
motet_pool_calls{pool="image",state="running"} 8.0
# TYPE motet_pool_slots gauge
motet_pool_slots{pool="image"} 8.0
# TYPE motet_pool_queue_seconds gauge
motet_pool_queue_seconds{pool="image"} 6.5
# TYPE motet_pool_oldest_wait_seconds gauge
motet_pool_oldest_wait_seconds{pool="image"} 1.5
"""

DECODER = """\
# TYPE motet_build_info gauge
motet_build_info{component="decoder",motet="1"} 1.0
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1000.0
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 50.0
# TYPE motet_health_serving gauge
motet_health_serving{service=""} 1.0
# TYPE motet_decoder_jobs gauge
motet_decoder_jobs{modality="image",state="running"} 3.0
# TYPE motet_decoder_batch_size histogram
motet_decoder_batch_size_bucket{modality="image",le="+Inf"} 10.0
motet_decoder_batch_size_count{modality="image"} 10.0
motet_decoder_batch_size_sum{modality="image"} 20.0
"""


def changed(text: str, **values: float) -> str:
    """Return an exposition in which each sample whose line begins with a name has another value.

    A name is that of a metric, and may have the value of a label after two underscores.
    """
    lines = []
    for line in text.splitlines():
        for name, value in values.items():
            metric, _, label = name.partition("__")
            if line.startswith(metric) and f'"{label}"' in line if label else line.startswith(f"{metric} "):
                line = f"{line.rpartition(' ')[0]} {value}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def http(body: str, status: str = "200 OK") -> bytes:
    """Return a response."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}".encode()


@asynccontextmanager
async def serving(respond: Callable[[], bytes | None]) -> AsyncIterator[str]:
    """Yield the address of a server that answers each connection with the bytes of `respond`, or never with None."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            response = respond()
            if response is None:
                await reader.read()
            else:
                writer.write(response)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
