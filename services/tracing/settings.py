"""Settings of the export of traces."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from motet.core.errors import SettingsError
from motet.core.files.regular_file import read_file
from motet.transport.address import is_local

if TYPE_CHECKING:
    import grpc

_SCHEMES = "http", "https"
_HEADER = re.compile(r"(?P<name>[0-9A-Za-z_.-]+):[ \t]*(?P<value>[ -~]+)")


def _checked_endpoint(endpoint: str) -> str:
    _split(endpoint)
    return endpoint


def _split(endpoint: str) -> SplitResult:
    """Return the parts of an endpoint. Raises `ValueError` for another form. The message does not repeat a password."""
    try:
        parts = urlsplit(endpoint)
        valid = parts.scheme in _SCHEMES and parts.hostname and parts.port and parts.path in ("", "/")
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("write https://HOST:PORT, or http://HOST:PORT for a connection without encryption")
    return parts


class TracingSettings(BaseSettings):
    """The collector that gets the traces of a process."""

    model_config = SettingsConfigDict(env_prefix="MOTET_", env_ignore_empty=True, frozen=True, extra="ignore")

    tracing_endpoint: Annotated[str, AfterValidator(_checked_endpoint)] | None = Field(
        default=None,
        description="URL of an OpenTelemetry collector that takes OTLP over gRPC, such as https://collector:4317. "
        "By default, no traces are recorded.",
        json_schema_extra={"metavar": "URL"},
    )
    tracing_ratio: float = Field(
        1.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of the requests that are traced, from 0 to 1. A caller's traceparent decides for its own "
        "requests.",
    )
    tracing_ca: Path | None = Field(
        default=None,
        description="PEM file of the authorities of the collector's certificate. By default, those of gRPC.",
        json_schema_extra={"metavar": "FILE"},
    )
    tracing_headers: Path | None = Field(
        default=None,
        description="File of headers for the collector, such as an authorization. Each line is NAME: VALUE.",
        json_schema_extra={"metavar": "FILE"},
    )
    allow_insecure_tracing: bool = Field(
        False, description="Send traces to a collector beyond this machine without encryption."
    )

    @model_validator(mode="after")
    def _check_collector(self) -> Self:
        if self.tracing_endpoint is None:
            for option in ("tracing_ca", "tracing_headers"):
                if getattr(self, option) is not None:
                    raise ValueError(f"--{option.replace('_', '-')} needs --tracing-endpoint: set it, too")
            return self
        if self.encrypted:
            return self
        if self.tracing_ca is not None:
            raise ValueError("--tracing-ca has no effect without encryption: begin --tracing-endpoint with https://")
        if not (self.allow_insecure_tracing or is_local(self.collector)):
            raise ValueError(
                f"traces would go to {self.collector} without encryption: begin --tracing-endpoint with https://, "
                "or set --allow-insecure-tracing"
            )
        return self

    @property
    def encrypted(self) -> bool:
        """True if the connection to the collector uses TLS."""
        return self.tracing_endpoint is not None and urlsplit(self.tracing_endpoint).scheme == "https"

    @property
    def collector(self) -> str:
        """The address of the collector, HOST:PORT."""
        return urlsplit(self.tracing_endpoint or "").netloc

    def credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials of an encrypted connection. Raises `SettingsError` for a wrong file."""
        # It imports grpc, and --help lists these settings.
        from motet.transport.tls.certificates import TlsFiles

        files = TlsFiles(None, self.tracing_ca)
        return files.parse(files.read()).channel_credentials()

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return the headers for the collector. Raises `SettingsError` for a wrong line, and does not repeat it."""
        if self.tracing_headers is None:
            return ()
        text = read_file(self.tracing_headers).decode(errors="replace")
        headers = []
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            matched = _HEADER.fullmatch(line.strip())
            if matched is None or matched["name"].lower().startswith("grpc-") or matched["name"].endswith("-bin"):
                raise SettingsError(
                    f"line {number} of {self.tracing_headers} is no header: write NAME: VALUE in printable ASCII"
                )
            headers.append((matched["name"].lower(), matched["value"]))
        return tuple(headers)
