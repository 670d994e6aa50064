"""Several server processes behind one port."""

import asyncio
import http.client
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from bench.restarts.ways import free_ports
from bertwire.v1.classifier_pb2 import ClassifyRequest
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire.v1.repository_pb2 import ReloadRequest
from bertwire.v1.repository_pb2_grpc import ModelRepositoryStub
from bertwire_client import Client
from bertwire_core.errors import UserError
from bertwire_server.config import ServerConfig
from bertwire_server.listen import check
from bertwire_server.processes.worker import Worker
from support import Serve, bertwire

# Connections of their own, which the kernel gives to the processes by chance.
OWN = [("grpc.use_local_subchannel_pool", 1)]
# With two processes all go to one in one of two billion runs.
CONNECTIONS = 32


def get(port: int, path: str) -> tuple[int, str]:
    """Asks the parent by HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def series(port: int, name: str) -> dict[str, float]:
    """Sums of a metric's series by process."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(get(port, "/metrics")[1]):
        for each in family.samples:
            if each.name == name:
                found[each.labels["process"]] = found.get(each.labels["process"], 0) + each.value
    return found


def test_two_processes(serve: Serve, bundle: Path) -> None:
    """Both answer at one port, one that dies comes back, and told to stop both answer what they have accepted."""
    [port] = free_ports(1)
    options = ("--variant", "fp32", "--processes", 2, "--metrics-port", port, "--max-batch-ms", 0.001)
    with serve(bundle, *options) as server:
        first, second = psutil.Process(server.process.pid).children()
        if len(os.sched_getaffinity(0)) > 1:
            assert not {*first.cpu_affinity()} & {*second.cpu_affinity()}
        assert get(port, "/ready") == (200, "ready\n")
        with pytest.raises(UserError, match="Address already in use"):
            check("127.0.0.1", int(server.address.rpartition(":")[2]))

        channels = [grpc.insecure_channel(server.address, OWN) for _ in range(CONNECTIONS)]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            request = ClassifyRequest(texts=["w1"])
            assert len(list(pool.map(lambda each: ClassifierStub(each).Classify(request, timeout=60), channels))) == 32
        answered = series(port, "bertwire_requests_total")
        assert set(answered) == {"0", "1"}
        assert min(answered.values()) > 0
        assert sum(answered.values()) == CONNECTIONS
        assert set(series(port, "process_resident_memory_bytes")) == {"0", "1"}
        with pytest.raises(grpc.RpcError, match="one of several processes") as refused:
            ModelRepositoryStub(channels[0]).Reload(ReloadRequest(), timeout=60)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION

        first.kill()
        # Balanced, as `bertwire_client` does with several servers: it then also watches health.
        with Client(f"ipv4:{server.address}", timeout=60) as client:
            while get(port, "/ready")[0] == 200:
                assert client.classify(["w1"]).results
            assert get(port, "/ready")[1].startswith("not ready: ")
            while get(port, "/ready")[0] == 503:
                assert client.classify(["w1"]).results
        assert sorted(series(port, "bertwire_process_restarts_total").values()) == [0, 1]

        channels += [grpc.insecure_channel(server.address, OWN) for _ in range(CONNECTIONS)]
        request = ClassifyRequest(texts=["w1"] * 20)
        calls = [ClassifierStub(each).Classify.future(request, timeout=60, wait_for_ready=True) for each in channels]
        calls[-1].result()
        server.process.send_signal(signal.SIGTERM)
        assert [len(each.result().results) for each in calls] == [20] * 2 * CONNECTIONS
        assert server.process.wait(30) == 0
        for each in channels:
            each.close()


def test_hung_process_is_noticed_and_ended(bundle: Path) -> None:
    """A stopped one does not serve and is killed after the second order; a reload at once ends none that starts."""
    [port] = free_ports(1)
    command = bertwire("serve", bundle, "--variant", "fp32", "--port", 0, "--processes", 2, "--metrics-port", port)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout
            assert parent.stderr
            while len(children := psutil.Process(parent.pid).children()) < 2:
                pass
            parent.send_signal(signal.SIGHUP)
            assert "2 processes" in parent.stdout.readline()
            children[0].suspend()
            while get(port, "/ready")[0] == 200:
                assert children[0].is_running()
            assert get(port, "/ready") == (503, "not ready: 0\n")
            parent.send_signal(signal.SIGTERM)
            parent.send_signal(signal.SIGINT)
            assert parent.wait(20) == 1
            assert parent.stderr.read().splitlines()[-1].endswith("process 0: did not stop within 3 s: killed")
            assert not children[0].is_running()
        finally:
            parent.kill()


async def test_failed_fork_and_a_bad_line_are_deaths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the process was ready it is started again."""
    ready = 'import sys; print(\'{"ready": "here", "serving": true}\', flush=True);'
    starts = iter([ready + "print('bad line', flush=True);", None, ready])
    start = asyncio.create_subprocess_exec

    async def fork(*_: str, **pipes: Any) -> asyncio.subprocess.Process:  # noqa: ANN401 - as the original
        if (program := next(starts)) is None:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return await start(sys.executable, "-c", program + "[_ for _ in zip(range(2), sys.stdin)]", **pipes)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fork)
    worker = Worker(0, [0], {}, 60)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(20):
        while not (worker.restarts == 2 and worker.serving):  # noqa: ASYNC110 - no event tells of restarts
            await asyncio.sleep(0)
        worker.stop()
        assert await running == ""


def test_says_in_one_line_why_none_starts(tmp_path: Path) -> None:
    """Not once for each process."""
    command = bertwire("serve", tmp_path / "none", "--port", 0, "--processes", 2)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    # On a machine with one core, after a line that says so.
    assert done.stderr.splitlines()[-1].startswith(f"bertwire: error: {tmp_path / 'none'}: no such bundle")
    assert done.stderr.count("no such bundle") == 1


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"processes": 0}, "greater than or equal to 1"),
        ({"processes": 65}, "less than or equal to 64"),
        ({"processes": 2, "host": "unix:b.sock"}, "--processes shares a port"),
        ({"processes": 2, "provider": "cuda"}, "--processes is for the CPU"),
    ],
)
def test_refuses_what_cannot_be_shared(settings: dict[str, object], reason: str) -> None:
    """Each with what to do."""
    with pytest.raises(ValidationError, match=reason):
        ServerConfig(bundle=Path("b"), **settings)
