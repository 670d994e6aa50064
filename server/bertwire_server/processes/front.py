"""HTTP of the parent: metrics of all processes at /metrics, and whether all are ready at /ready."""

import http.client
import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from bertwire_server.listen import address
from bertwire_server.processes.worker import Worker
from bertwire_server.telemetry.reporting import metrics_server

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger(__name__)
# Seconds for the metrics of one process; Prometheus waits 10 for all. Halved, a busy process may be missing.
_SCRAPE_SECONDS = 4.0


class Front:
    """Serves metrics and readiness of all processes, in threads of its own."""

    def __init__(self, workers: Sequence[Worker], host: str, port: int) -> None:
        """Open the port; raise `UserError` where it cannot be bound."""
        registry = CollectorRegistry()
        registry.register(Merged(workers))
        self._server = metrics_server(registry, host, port)
        if (app := self._server.get_app()) is not None:
            self._server.set_app(_with_ready(app, workers))
        _log.info("metrics at http://%s/metrics, /ready beside them", address(host, self._server.server_port))

    def close(self) -> None:
        """Close the port, within half a second."""
        self._server.shutdown()
        self._server.server_close()


class Merged(Collector):
    """Metrics of all processes, read at each scrape: each series with the label process."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        """Read the processes at the same time; of one that does not answer nothing is shown but that it is not up."""
        merged: dict[str, Metric] = {}
        with ThreadPoolExecutor(len(self._workers)) as pool:
            for worker, text in zip(self._workers, pool.map(_scraped, self._workers), strict=True):
                for family in text_string_to_metric_families(text):
                    whole = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                    for each in family.samples:
                        whole.add_sample(each.name, {"process": str(worker.number), **each.labels}, each.value)
        yield from merged.values()
        up = GaugeMetricFamily("bertwire_process_up", "1 while the process serves.", labels=["process"])
        again = CounterMetricFamily("bertwire_process_restarts", "Starts after a death.", labels=["process"])
        for worker in self._workers:
            up.add_metric([str(worker.number)], worker.serving)
            again.add_metric([str(worker.number)], worker.restarts)
        yield from (up, again)


def _scraped(worker: Worker) -> str:
    if (port := worker.metrics_port) is None:
        return ""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SCRAPE_SECONDS)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException) as error:
        _log.warning("process %d gives no metrics: %s", worker.number, error)
        return ""
    finally:
        connection.close()


def _with_ready(app: "WSGIApplication", workers: Sequence[Worker]) -> "WSGIApplication":
    """Answer /ready: 200 while all processes serve, else 503 with the numbers of those that do not."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> "Iterable[bytes]":
        if environ["PATH_INFO"] != "/ready":
            return app(environ, start_response)
        missing = [str(each.number) for each in workers if not each.serving]
        text = f"not ready: {', '.join(missing)}\n" if missing else "ready\n"
        start_response(
            "503 Service Unavailable" if missing else "200 OK", [("Content-Type", "text/plain; charset=utf-8")]
        )
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [text.encode()]

    return answer
