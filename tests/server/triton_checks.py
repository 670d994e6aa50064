"""Drives a server with Triton's own client, in the client's environment: `triton_checks.py CHECK ADDRESS MODEL`.

The server's model is the tiny one of conftest.py.
"""

import asyncio
import queue
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

Client = Any  # the client's packages have no types
LABELS = ["negative", "neutral", "positive"]


def text_input(*texts: str, flat: bool = False) -> triton.InferInput:
    """Return the tensor of some texts, [N, 1] or [N]."""
    array = np.array(texts if flat else [[text] for text in texts], dtype=object)
    tensor = triton.InferInput("text", list(array.shape), "BYTES")
    return tensor.set_data_from_numpy(array)


def refused(code: str, words: str, call: Callable[..., object], *arguments: object, **options: object) -> None:
    """Assert that a call fails with a status code, and a message that has the words."""
    raised = None
    try:
        call(*arguments, **options)
    except InferenceServerException as error:
        raised = error
    assert raised is not None, f"{code} expected"
    assert raised.status() == f"StatusCode.{code}", raised
    assert words in raised.message(), raised


def check_metadata(client: Client, model: str) -> None:
    """Describe by server, model and configuration what infer takes and gives."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    assert client.is_model_ready(model, "1")
    assert not client.is_model_ready("other")
    assert not client.is_model_ready(model, "2")
    assert "statistics" in client.get_server_metadata(as_json=True)["extensions"]
    metadata = client.get_model_metadata(model)
    assert (metadata.name, list(metadata.versions)) == (model, ["1"])
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.inputs] == [("text", "BYTES", [-1, 1])]
    assert {each.name: (each.datatype, list(each.shape)) for each in metadata.outputs} == {
        "label": ("BYTES", [-1, 1]),
        "score": ("FP32", [-1, 1]),
        "scores": ("FP32", [-1, 3]),
        "logits": ("FP32", [-1, 3]),
    }
    config = client.get_model_config(model).config
    assert config.max_batch_size == 1024
    assert [(each.name, list(each.dims)) for each in config.output][2] == ("scores", [3])
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
    assert config.parameters["task"].string_value == "single_label"
    refused("NOT_FOUND", "no model 'other'", client.get_model_metadata, "other")


def check_repository(client: Client, model: str) -> None:
    """List, unload and load the model; fail for one that is not there."""
    (entry,) = client.get_model_repository_index().models
    assert (entry.name, entry.version, entry.state) == (model, "1", "READY")
    refused("NOT_FOUND", "no model 'other'", client.load_model, "other")
    refused("NOT_FOUND", "no model 'other'", client.unload_model, "other")
    refused("INVALID_ARGUMENT", "send no parameters", client.load_model, model, config="{}")
    client.unload_model(model)
    assert not client.is_model_ready(model)
    client.load_model(model)
    assert client.is_model_ready(model)


def check_infer(client: Client, model: str) -> None:
    """Answer raw BYTES of either shape with tensors that as_numpy reads and that fit one another."""
    texts = ["w1 w2", "w3 zażółć 😀", "w4 " * 50]
    result = client.infer(model, [text_input(*texts)], request_id="a/7")
    assert result.get_response().id == "a/7"
    assert (result.get_response().model_name, result.get_response().model_version) == (model, "1")
    label, score, scores, logits = (result.as_numpy(name) for name in ("label", "score", "scores", "logits"))
    assert (label.shape, score.shape, scores.shape, logits.shape) == ((3, 1), (3, 1), (3, 3), (3, 3))
    assert [LABELS[row.argmax()].encode() for row in logits] == label.ravel().tolist()
    np.testing.assert_array_equal(score.ravel(), scores.max(axis=1))
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    flat = client.infer(model, [text_input(*texts, flat=True)])
    assert flat.as_numpy("label").shape == (3,)
    np.testing.assert_allclose(flat.as_numpy("logits"), logits, atol=1e-5)
    only = client.infer(model, [text_input("w1")], outputs=[triton.InferRequestedOutput("score")])
    assert [each.name for each in only.get_response().outputs] == ["score"]


def check_parameters(client: Client, model: str) -> None:
    """Take priority as the client sends it, ignore timeout, and keep gRPC's deadline."""
    inputs = [text_input("w1")]
    for priority in (0, 1, 2, 3, 2**64 - 1):
        client.infer(model, inputs, priority=priority, timeout=30, parameters={"anything": "else"})
    refused("DEADLINE_EXCEEDED", "", client.infer, model, [text_input(*["w1 w2 w3"] * 1024)], client_timeout=1e-3)
    assert not client.get_model_config(model).config.dynamic_batching.default_queue_policy.allow_timeout_override


def check_statistics(client: Client, model: str) -> None:
    """Count successes, failures and texts, and their times."""
    (before,) = client.get_inference_statistics(model).model_stats
    for _ in range(3):
        client.infer(model, [text_input("w1", "w2")])
    refused("INVALID_ARGUMENT", "blank", client.infer, model, [text_input("")])
    (after,) = client.get_inference_statistics(model, "1").model_stats
    assert after.inference_count - before.inference_count == 6
    assert after.last_inference >= before.last_inference
    assert after.inference_stats.fail.count - before.inference_stats.fail.count == 1
    for name in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        new, old = getattr(after.inference_stats, name), getattr(before.inference_stats, name)
        assert new.count - old.count == 3, name
        assert new.ns > old.ns, name
    assert [each.name for each in client.get_inference_statistics().model_stats] == [model]
    refused("NOT_FOUND", "no model 'other'", client.get_inference_statistics, "other")


def check_stream(client: Client, model: str) -> None:
    """Answer in the order of requests; fail one without the others."""
    done: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: done.put((result, error)))
    for number in range(300):
        texts = [""] if number == 150 else [f"w{number % 60}"] * (1 + number % 7)
        client.async_stream_infer(
            model, [text_input(*texts)], request_id=str(number), enable_empty_final_response=number % 2 == 0
        )
    answers = [done.get(timeout=30) for _ in range(300)]
    client.stop_stream()
    assert done.empty()
    assert "texts[0] is blank" in answers.pop(150)[1].message()
    assert [error for _, error in answers if error] == []
    responses = [result.get_response() for result, _ in answers]
    assert [int(each.id) for each in responses] == [number for number in range(300) if number != 150]
    assert all(each.parameters["triton_final_response"].bool_param for each in responses)
    assert answers[4][0].as_numpy("scores").shape == (5, 3)


async def check_aio(client: Client, model: str) -> None:
    """Answer the asyncio client: metadata, calls at once, a stream."""
    assert await client.is_model_ready(model)
    assert (await client.get_model_config(model)).config.name == model
    calls = [client.infer(model, [text_input(f"w{number}")], request_id=str(number)) for number in range(50)]
    assert [each.get_response().id for each in await asyncio.gather(*calls)] == [str(number) for number in range(50)]

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for number in range(50):
            text = "" if number == 9 else f"w{number}"
            yield {"model_name": model, "inputs": [text_input(text)], "request_id": str(number)}

    results = [each async for each in client.stream_infer(requests())]
    assert [number for number, (_, error) in enumerate(results) if error] == [9]
    assert [each.get_response().id for each, error in results if not error] == [str(n) for n in range(50) if n != 9]


async def _check_aio(check: Callable[[Client, str], Awaitable[None]], address: str, model: str) -> None:
    async with triton_aio.InferenceServerClient(address) as client:
        await check(client, model)


def _main(name: str, address: str, model: str) -> None:
    check = globals()[name]
    if asyncio.iscoroutinefunction(check):
        asyncio.run(_check_aio(check, address, model))
        return
    with triton.InferenceServerClient(address) as client:
        check(client, model)


if __name__ == "__main__":
    _main(*sys.argv[1:])
