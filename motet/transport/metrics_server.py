"""The HTTP server from which Prometheus scrapes this process."""

from __future__ import annotations

from prometheus_client import start_http_server

from motet.transport.address import bind_error, check_local, split_address


class MetricsServer:
    """An HTTP server for `/metrics` at HOST:PORT, on a thread of its own."""

    def __init__(self, address: str, allow_insecure: bool = False) -> None:
        self.address = address
        self._insecure_anywhere = allow_insecure

    def start(self) -> None:
        """Bind and serve. Then `address` holds the bound port, also if port 0 was given.

        Raises `SettingsError` for an address that cannot be bound, or that is open to the network without permission.
        """
        if not self._insecure_anywhere:
            check_local(self.address)
        host, port = split_address(self.address)
        try:
            self._server, self._thread = start_http_server(port, host)
        except OSError as error:
            raise bind_error(self.address, error) from None
        self.address = f"{self.address.rpartition(':')[0]}:{self._server.server_port}"

    def stop(self) -> None:
        """Stop serving and release the address."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
