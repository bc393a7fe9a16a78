"""A collector of OpenTelemetry on a free port: it keeps the spans that processes send, and shows them to the canary."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import grpc
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.canary import CANARY


@dataclass(frozen=True)
class Seen:
    """A span that the collector received from a service."""

    service: str
    span: trace_pb2.Span

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes by name."""
        return _values(self.span.attributes)

    @property
    def failed(self) -> bool:
        return self.span.status.code == trace_pb2.Status.STATUS_CODE_ERROR


@dataclass
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """The spans and the headers that arrived. Exports get no answer until `answering` is set."""

    spans: list[Seen] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answering: Event = field(default_factory=Event)
    endpoint: str = ""

    def Export(self, request: pb.ExportTraceServiceRequest, context: Any) -> pb.ExportTraceServiceResponse:
        self.answering.wait(30)
        self.headers.append(dict(context.invocation_metadata()))
        for resource in request.resource_spans:
            service = _values(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    CANARY.see_span(MessageToJson(span, indent=None))
                    self.spans.append(Seen(service, span))
        return pb.ExportTraceServiceResponse()

    def named(self, name: str) -> list[Seen]:
        """Return the spans with a name."""
        return [seen for seen in self.spans if seen.name == name]

    def only(self, name: str) -> Seen:
        """Return the only span with a name."""
        (seen,) = self.named(name)
        return seen

    def tree(self, trace_id: bytes | None = None) -> str:
        """Return the names of a trace's spans, indented below their parents, in order of their starts.

        Fails if a span of the trace has a parent that did not arrive. Without an id, spans of batches are left out.
        """
        spans = [seen for seen in self.spans if seen.name != "denoise batch"]
        if trace_id is not None:
            spans = [seen for seen in spans if seen.span.trace_id == trace_id]
        assert len({seen.span.trace_id for seen in spans}) == 1, "there are several traces"
        ids = {seen.span.span_id for seen in spans}
        roots = [seen for seen in spans if seen.span.parent_span_id not in ids]
        assert len(roots) == 1, [seen.name for seen in roots]
        return "\n".join(self._lines(roots[0], spans, 0))

    def _lines(self, root: Seen, spans: list[Seen], depth: int) -> Iterator[str]:
        yield "  " * depth + root.name
        children = [seen for seen in spans if seen.span.parent_span_id == root.span.span_id]
        for child in sorted(children, key=lambda seen: seen.span.start_time_unix_nano):
            yield from self._lines(child, spans, depth + 1)


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def collecting(credentials: grpc.ServerCredentials | None = None, answering: bool = True) -> Iterator[Collector]:
    """Run a collector."""
    collector = Collector()
    if answering:
        collector.answering.set()
    server = grpc.server(ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    if credentials is None:
        collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        collector.endpoint = f"https://localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
    server.start()
    try:
        yield collector
    finally:
        collector.answering.set()
        server.stop(None).wait()
