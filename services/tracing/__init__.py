"""The export of traces to an OpenTelemetry collector. Only a process with an endpoint imports OpenTelemetry."""
