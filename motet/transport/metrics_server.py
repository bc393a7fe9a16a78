"""The metrics of this process, where Prometheus looks for them."""

from __future__ import annotations

from prometheus_client import start_http_server

from motet.transport.address import check_local, refusal, split_address


class MetricsServer:
    """Serves `/metrics` over HTTP at HOST:PORT from a thread of its own."""

    def __init__(self, address: str, insecure_anywhere: bool = False) -> None:
        self.address = address
        self._insecure_anywhere = insecure_anywhere

    def start(self) -> None:
        """Serve. From then on `address` holds the port that was bound. Raises `SettingsError` as a server does."""
        if not self._insecure_anywhere:
            check_local(self.address)
        host, port = split_address(self.address)
        try:
            self._server, self._thread = start_http_server(port, host)
        except OSError as error:
            raise refusal(self.address, error) from None
        self.address = f"{self.address.rpartition(':')[0]}:{self._server.server_port}"

    def stop(self) -> None:
        """Let go of the address."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
