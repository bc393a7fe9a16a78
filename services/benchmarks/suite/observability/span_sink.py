"""A process that takes spans like an OpenTelemetry collector, and keeps none of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from subprocess import PIPE, Popen

import grpc

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@contextmanager
def span_sink() -> Iterator[str]:
    """Run the process within the context. Yield its URL, for `--tracing-endpoint`."""
    with Popen([sys.executable, "-m", __name__], stdin=PIPE, stdout=PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


class _Export(grpc.GenericRpcHandler):
    """The method of a collector. An empty message is the response to an export of which all spans were taken."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return grpc.unary_unary_rpc_method_handler(lambda _, __: b"") if details.method == _EXPORT else None


def _run() -> None:
    server = grpc.server(ThreadPoolExecutor(2), [_Export()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None).wait()


if __name__ == "__main__":
    _run()
