"""The client of every server that is compared: calls of one text each, a fixed number in flight.

`python -m bench.peers.client PROTOCOL PORT PID TEXTS IN_FLIGHT MOST` sends the first MOST texts of a table, after
some that warm the server up, and prints one JSON object. Bytes are prepared before: the client is not what is measured.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from time import perf_counter

import aiohttp
import grpc.aio
import numpy as np
import psutil

from bench.calls import request
from bench.figures import Figures, Times, percentiles
from bench.texts import read_texts
from bertwire.oip.inference_pb2 import ModelInferRequest

# Calls before the measurement; at half of them a server that grows its batches slowly is measured while it does.
_WARM = 256
# Seconds until the model has to answer.
_START = 60
_OIP, _OWN = "/inference.GRPCInferenceService/ModelInfer", "/bertwire.v1.Classifier/Classify"
Send = Callable[[bytes], Awaitable[bytes]]


async def measure(protocol: str, port: int, pid: int, texts: Sequence[str], in_flight: int) -> Figures:
    """Return texts a second, percentiles of a call's milliseconds, and CPU-milliseconds a text of all its processes."""
    server = psutil.Process(pid)
    messages = [_MESSAGES[protocol](text) for text in texts]
    if protocol == "http":
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            return await _measure(_over_http(session, port), messages, in_flight, server)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        method = channel.unary_unary(_OIP if protocol == "oip" else _OWN)

        async def send(message: bytes) -> bytes:
            return await method(message)

        return await _measure(send, messages, in_flight, server)


async def _measure(send: Send, messages: list[bytes], in_flight: int, server: psutil.Process) -> Figures:
    await _answers(send, messages[0])
    await _drain(send, messages[:_WARM], in_flight)
    cpu, start = _cpu_seconds(server), perf_counter()
    seconds = await _drain(send, messages, in_flight)
    elapsed, cpu = perf_counter() - start, _cpu_seconds(server) - cpu
    figures = {"texts_per_second": len(messages) / elapsed, "cpu_ms_per_text": 1e3 * cpu / len(messages)}
    return figures | percentiles(seconds)


async def _answers(send: Send, message: bytes) -> None:
    """Wait until a call is answered: some servers listen before their model is loaded."""
    until = perf_counter() + _START
    while True:
        try:
            await send(message)
            return
        except (grpc.aio.AioRpcError, aiohttp.ClientError):
            if perf_counter() > until:
                raise
            await asyncio.sleep(0.2)


async def _drain(send: Send, messages: Iterable[bytes], in_flight: int) -> Times:
    waiting, seconds = iter(messages), []

    async def work() -> None:
        for message in waiting:
            begun = perf_counter()
            answer = await send(message)
            seconds.append(perf_counter() - begun)
            assert answer  # noqa: S101 - a server that answers nothing has no figure

    await asyncio.gather(*(work() for _ in range(in_flight)))
    return np.array(seconds)


def _over_http(session: aiohttp.ClientSession, port: int) -> Send:
    address = f"http://127.0.0.1:{port}"

    async def send(message: bytes) -> bytes:
        headers = {"content-type": "application/json"}
        # mosec answers at /inference whatever the worker is called.
        async with session.post(f"{address}/inference", data=message, headers=headers) as answer:
            answer.raise_for_status()
            return await answer.read()

    return send


def _oip(text: str) -> bytes:
    message = ModelInferRequest(model_name="peer")
    given = message.inputs.add(name="text", datatype="BYTES", shape=[1, 1])
    given.contents.bytes_contents.append(text.encode())
    return message.SerializeToString()


_MESSAGES: dict[str, Callable[[str], bytes]] = {
    "bertwire": lambda text: request([text]).SerializeToString(),
    "http": lambda text: json.dumps({"text": text}).encode(),
    "oip": _oip,
}


def _cpu_seconds(server: psutil.Process) -> float:
    times = [each.cpu_times() for each in (server, *server.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def _main(protocol: str, port: str, pid: str, texts: str, in_flight: str, most: str) -> None:
    chosen = read_texts(Path(texts))[: int(most)]
    print(json.dumps(asyncio.run(measure(protocol, int(port), int(pid), chosen, int(in_flight)))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
