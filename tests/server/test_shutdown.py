"""How a server ends, and begins in the place of another."""

import asyncio
import signal
import subprocess
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

import http2
from bench.restarts.load import Found, Rates
from bench.restarts.run import restarted
from bench.restarts.ways import WAYS, free_ports, is_here
from bertwire.health import health_pb2, health_pb2_grpc
from bertwire.oip.inference_pb2 import ModelReadyRequest, ServerReadyRequest
from bertwire.oip.inference_pb2_grpc import GRPCInferenceServiceStub
from bertwire.v1.classifier_pb2 import ClassifyRequest, ClassifyStreamRequest
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire_server.app import serve as serve_bundle
from bertwire_server.config import ServerConfig
from bertwire_server.repository.fleet import Fleet
from support import Serve, bertwire, random_texts

SERVICE = "bertwire.v1.Classifier"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def found(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What callers found while one of two servers was restarted, by each way that there is here."""
    running = restarted(
        bundle,
        [way for way in WAYS if is_here(way)],
        random_texts(100),
        tmp_path_factory.mktemp("proxies"),
        restarts=1,
        rates=Rates(plain=50.0, retried=20.0, messages=20.0),
        options=["--variant", "fp32", "--shutdown-delay-seconds", "2"],
        pause=1.0,
    )
    return asyncio.run(running)


@pytest.mark.parametrize("way", WAYS)
def test_nobody_notices_a_restart(way: str, found: dict[str, Found]) -> None:
    """No call is refused; with gRPC's retries none fails, and a stream that reopens loses and repeats no message.

    Without retries a call may be cancelled that was sent before its sender could know: docs/decisions/008.
    """
    if way not in found:
        pytest.skip(f"{way} is not installed")
    calls = found[way].plain
    assert set(calls) <= {"OK", "CANCELLED"}, found[way].failures
    assert calls["CANCELLED"] < 0.2 * calls.total()
    assert set(found[way].retried) == {"OK"}, found[way].failures
    assert set(found[way].messages) == {"OK"}


async def test_port_opens_when_all_is_loaded(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who cannot ask for health, and sends calls as soon as it can connect, is answered."""
    start, begun, go = Fleet.start, asyncio.Event(), asyncio.Event()

    async def later(fleet: Fleet) -> None:
        begun.set()
        await go.wait()
        await start(fleet)

    monkeypatch.setattr(Fleet, "start", later)
    ready: asyncio.Queue[str] = asyncio.Queue()
    [port] = free_ports(1)
    running = asyncio.create_task(serve_bundle(ServerConfig(bundle=bundle, port=port), ready.put_nowait))
    await begun.wait()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    go.set()
    await ready.get()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert await ClassifierStub(channel).Classify(ClassifyRequest(texts=["w1"]), timeout=20)
    running.cancel()
    await asyncio.wait([running])


async def test_goes_on_while_others_take_notice(serve: Serve, bundle: Path) -> None:
    """Told to stop, it says so, and answers calls of those that connect even then; a second signal ends that."""
    with serve(bundle, "--shutdown-delay-seconds", 300) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
            assert (await watch.read()).status == SERVING
            inference = GRPCInferenceServiceStub(channel)
            assert (await inference.ServerReady(ServerReadyRequest())).ready
            server.process.send_signal(signal.SIGTERM)
            assert (await watch.read()).status == NOT_SERVING
            assert not (await inference.ServerReady(ServerReadyRequest())).ready
            assert not (await inference.ModelReady(ModelReadyRequest(name="tiny"))).ready
        async with grpc.aio.insecure_channel(server.address) as channel:
            assert await ClassifierStub(channel).Classify(ClassifyRequest(texts=["w1"]), timeout=20)
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.process.wait, 30) == 0


async def test_stream_is_answered_and_goes_elsewhere(serve: Serve, bundle: Path) -> None:
    """All messages that have come are answered, those too that were not taken yet, then the stream is UNAVAILABLE."""
    # Few texts: what is not read within a second of the end is for another server.
    options = ("--max-stream-requests", 2, "--shutdown-delay-seconds", 0)
    seen: list[int] = []
    with serve(bundle, *options) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub, request = ClassifierStub(channel), ClassifyRequest(texts=random_texts(2, longest=4))

            async def read() -> None:
                while True:
                    seen.append(int((await stream.read()).id))

            stream = stub.ClassifyStream(timeout=60)
            for number in range(20):
                await stream.write(ClassifyStreamRequest(id=str(number), request=request))
            # What is sent after them on the same connection is answered after they have come.
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.aio.AioRpcError, match="shutting down") as caught:
                await read()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert sorted(seen) == list(range(20))
        assert await asyncio.to_thread(server.process.wait, 30) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_drains_under_load(serve: Serve, bundle: Path, number: signal.Signals) -> None:
    """A stop signal turns health NOT_SERVING, answers every call sent before, and the process exits with 0."""
    with serve(bundle, "--max-batch-ms", 0.001) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
            assert (await watch.read()).status == SERVING
            request = ClassifyRequest(texts=random_texts(30, longest=4))
            calls = [ClassifierStub(channel).Classify(request, timeout=60) for _ in range(60)]
            # What is sent after them on the same connection is answered after the first of them have arrived.
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
            server.process.send_signal(number)
            assert (await watch.read()).status == NOT_SERVING
            responses = await asyncio.gather(*calls)
            assert [len(each.results) for each in responses] == [30] * 60
        assert await asyncio.to_thread(server.process.wait, 30) == 0


async def test_second_signal_ends_the_drain(serve: Serve, bundle: Path) -> None:
    """Told to stop again, the server gives up on what it has accepted and exits."""
    with serve(bundle, "--max-batch-ms", 0.001, "--drain-seconds", 300) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
            assert (await watch.read()).status == SERVING
            request = ClassifyRequest(texts=["w1"] * 1024)
            calls = [ClassifierStub(channel).Classify(request, timeout=60) for _ in range(8)]
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
            server.process.send_signal(signal.SIGTERM)
            assert (await watch.read()).status == NOT_SERVING
            server.process.send_signal(signal.SIGINT)
            codes = {await call.code() for call in calls}
        assert codes - {grpc.StatusCode.OK} <= {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}
        assert codes != {grpc.StatusCode.OK}
        assert await asyncio.to_thread(server.process.wait, 30) == 1


async def test_drain_does_not_wait_for_messages(serve: Serve, bundle: Path) -> None:
    """Who has sent the headers of a call and nothing more is told to go elsewhere, and holds up nothing."""
    with serve(bundle, "--drain-seconds", 300) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            methods: list[Any] = [
                channel.stream_stream(f"/{SERVICE}/{name}") for name in ("Classify", "ClassifyStream")
            ]
            calls = [method(timeout=60) for method in methods]
            for call in calls:
                await call.wait_for_connection()
            await ClassifierStub(channel).Classify(ClassifyRequest(texts=["w1"]), timeout=60)
            server.process.send_signal(signal.SIGTERM)
            assert {await call.code() for call in calls} == {grpc.StatusCode.UNAVAILABLE}
        assert await asyncio.to_thread(server.process.wait, 30) == 0


async def test_shutdown_leaves_a_model_behind_that_does_not_stop(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that hangs, or is being loaded, does not hold up the end."""
    stop, left = Fleet.stop, []

    async def never(fleet: Fleet) -> None:
        left.append(fleet)
        await asyncio.Event().wait()

    monkeypatch.setattr(Fleet, "stop", never)
    ready: asyncio.Queue[str] = asyncio.Queue()
    config = ServerConfig(bundle=bundle, port=0, shutdown_delay_seconds=0)
    running = asyncio.create_task(serve_bundle(config, ready.put_nowait))
    await ready.get()
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(running, 60)
    assert "leaving them behind" in caplog.text
    await stop(left[0])


def test_answer_that_is_read_slowly_is_waited_for(serve: Serve, bundle: Path) -> None:
    """Its caller has room for 64 KiB of it, and for the rest only once the server has been told to stop for long."""
    request = ClassifyRequest(texts=["w1 w2"] * 1024, logits=True).SerializeToString()
    body = http2.message(request)
    received = ended = 0
    with serve(bundle, "--shutdown-delay-seconds", 0) as server, http2.connect(server.address) as connection:
        http2.say_hello(connection)
        connection.sendall(http2.headers(f"/{SERVICE}/Classify"))
        for start in range(0, len(body), 16384):
            connection.sendall(http2.frame(http2.DATA, 0, 1, body[start : start + 16384]))
        connection.sendall(http2.frame(http2.DATA, http2.END_STREAM, 1))
        for kind, flags, _, payload in http2.frames(connection):
            if kind == http2.SETTINGS and not flags & http2.ACK:
                connection.sendall(http2.frame(http2.SETTINGS, http2.ACK, 0))
            elif kind == http2.PING and not flags & http2.ACK:
                connection.sendall(http2.frame(http2.PING, http2.ACK, 0, payload))
            elif kind == http2.DATA:
                received += len(payload)
                if received == http2.WINDOW:
                    server.process.send_signal(signal.SIGTERM)
                    with pytest.raises(subprocess.TimeoutExpired):
                        server.process.wait(1.5)
                    connection.sendall(http2.room(0) + http2.room(1))
            elif kind == http2.HEADERS and flags & http2.END_STREAM:
                ended += b"grpc-status\x010" in payload
                break
        assert server.process.wait(30) == 0
    assert ended
    assert received > http2.WINDOW


def test_open_watch_does_not_hold_the_exit(serve: Serve, bundle: Path) -> None:
    """A health watch that nobody ends does not keep the server from exiting in time."""
    with serve(bundle, "--drain-seconds", 300) as server, grpc.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == SERVING
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0


@pytest.mark.parametrize(("fault", "status"), [("", 0), ("raise UserError('gave up')", 1)])
def test_ends_without_the_interpreters_own_end(fault: str, status: int) -> None:
    """With everything closed the process ends at once: a thread that still runs a model would make an abort of it."""
    script = (
        "import atexit, bertwire_server.app as app, bertwire_server.cli as cli\n"
        "from bertwire_client.errors import UserError\n"
        "from bertwire_server.config import ServerConfig\n"
        "async def serve(config, announce):\n"
        "    announce('served')\n"
        f"    {fault}\n"
        "app.serve = serve; atexit.register(print, 'the end')\n"
        "cli.run_serve(ServerConfig(bundle='x'))\n"
    )
    done = subprocess.run([bertwire()[0], "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (status, "served\n")
    assert done.stderr == ("bertwire: error: gave up\n" if fault else "")
