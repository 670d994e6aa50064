"""Serves the metrics over HTTP, in threads of its own."""

import socket
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from threading import Thread

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import MetricsHandler, choose_encoder

from bertwire_core.errors import UserError

_IDLE_SECONDS = 10.0


class MetricsServer:
    """Answers GET and HEAD of /metrics, in the text format or as OpenMetrics, until `close`.

    Attributes:
        port: where it listens.
    """

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        """Binds and starts.

        Args:
            registry: what is shown.
            host: the address to listen on.
            port: the port; 0 takes a free one.

        Raises:
            UserError: the address cannot be had.
        """
        handler = type("Handler", (_Handler,), {"registry": registry})
        kind = _Server6 if ":" in host else _Server
        try:
            self._server = kind((host, port), handler)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(
                f"cannot serve metrics on {host}:{port}: {reason}; choose another --metrics-port or --metrics-host"
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops listening; blocks for half a second at most."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of scrapers that go away."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(MetricsHandler):
    timeout = _IDLE_SECONDS  # or whoever connects and says nothing would hold a thread for ever

    def do_GET(self) -> None:  # noqa: N802 - the base's name
        """Shows the metrics."""
        if self._found():
            super().do_GET()

    def do_HEAD(self) -> None:  # noqa: N802
        """Answers checks of whether the metrics are there."""
        if self._found():
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", choose_encoder(self.headers.get("Accept", ""))[1])
            self.end_headers()

    def _found(self) -> bool:
        found = self.path.partition("?")[0] == "/metrics"
        if not found:
            self.send_error(HTTPStatus.NOT_FOUND, explain="the metrics are at /metrics")
        return found
