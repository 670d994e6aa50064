"""One ClassifyStream with a fixed number of requests unanswered at any time."""

from time import perf_counter

import grpc.aio

from bench.calls import OPTIONS, Calls, Target, request
from bench.figures import OK, Figures, percentiles
from bertwire.v1.classifier_pb2 import ClassifyStreamRequest, ClassifyStreamResponse
from bertwire_core.errors import UserError

_METHOD = "/bertwire.v1.Classifier/ClassifyStream"


async def stream(target: Target, in_flight: int, most: int) -> Figures:
    """Return the server's CPU-milliseconds a text, texts a second and a request's milliseconds, every text sent once.

    Args:
        target: what is measured.
        in_flight: requests unanswered.
        most: send the first so many texts.
    """
    messages = [
        ClassifyStreamRequest(id=str(place), request=request([text])).SerializeToString()
        for place, text in enumerate(target.texts[:most])
    ]
    async with grpc.aio.insecure_channel(target.address, options=OPTIONS) as channel:
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(_METHOD)()
        try:
            await _pass(call, messages[: 2 * in_flight], in_flight)
            cpu_ms, start = target.cpu_ms(), perf_counter()
            calls = await _pass(call, messages, in_flight)
            seconds, cpu_ms = perf_counter() - start, target.cpu_ms() - cpu_ms
            await call.done_writing()
        except grpc.aio.AioRpcError as error:
            raise UserError(f"the stream ended {error.code().name}") from error
    figures = {"cpu_ms_per_text": cpu_ms / len(messages), "texts_per_second": len(messages) / seconds}
    return figures | percentiles(calls.all().seconds)


async def _pass(call: "grpc.aio.StreamStreamCall[bytes, bytes]", messages: list[bytes], in_flight: int) -> Calls:
    """Send every message once, a further one for each answer."""
    calls = Calls()
    sent: list[float] = []

    async def send() -> None:
        message = messages[len(sent)]
        sent.append(perf_counter())
        await call.write(message)

    for _ in messages[:in_flight]:
        await send()
    for _ in messages:
        answer = await call.read()
        if not isinstance(answer, bytes):
            raise UserError(f"the stream ended {(await call.code()).name}")
        message = ClassifyStreamResponse.FromString(answer)
        if not message.HasField("response"):
            raise UserError(f"a request without a deadline failed: {message.failure.message}")
        calls.note(sent[int(message.id)], OK)
        if len(sent) < len(messages):
            await send()
    return calls
