"""What requests of the Open Inference Protocol may hold, and what is said of those that may not."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pytest

from bertwire.oip.inference_pb2 import InferParameter, InferTensorContents, ModelInferRequest
from bertwire_runtime.bundle import open_bundle
from bertwire_server.errors import Expired, InvalidRequest, ModelNotFound
from bertwire_server.query import Priority
from oip_support import MAX_TEXTS, Echo, Infer, packed, raw_request, typed_request

Input = ModelInferRequest.InferInputTensor
Output = ModelInferRequest.InferRequestedOutputTensor


@pytest.fixture
def infer(bundle: Path) -> Infer:
    """Return ModelInfer of a model of single texts."""
    return Infer(Echo(open_bundle(bundle).manifest, [1, 3, 2]))


@pytest.fixture
def infer_pairs(bundle: Path) -> Infer:
    """Return ModelInfer of a model of pairs."""
    return Infer(Echo(open_bundle(bundle).manifest.model_copy(update={"text_pairs": True}), [1, 3, 2]))


@pytest.mark.parametrize("make", [raw_request, typed_request])
@pytest.mark.parametrize("rank", [1, 2])
async def test_reads_texts(infer: Infer, make: Callable[..., ModelInferRequest], rank: int) -> None:
    """Read raw and typed texts, as [N] and [N, 1], of any Unicode, with model and version."""
    texts = ["w1", "zażółć\n😀", "\x00w"]
    response = await infer(make(*texts, rank=rank, model_name="tiny", model_version="1", id="x"))
    (query,) = infer.model.queries
    assert (list(query.texts), query.model, query.version) == (texts, "tiny", "1")
    assert (response.id, response.model_name, response.model_version) == ("x", "tiny", "1")


async def test_reads_pairs_in_either_order(infer_pairs: Infer) -> None:
    """Tell the inputs of a pair apart by name; refuse a single text."""
    request = ModelInferRequest(raw_input_contents=[packed(b"b", b"d"), packed(b"a", b"c")])
    request.inputs.add(name="text_pair", datatype="BYTES", shape=[2])
    request.inputs.add(name="text", datatype="BYTES", shape=[2, 1])
    await infer_pairs(request)
    assert list(infer_pairs.model.queries[0].texts) == [("a", "b"), ("c", "d")]
    with pytest.raises(InvalidRequest, match="send a second text"):
        await infer_pairs(raw_request("w1"))


def _tensor(name: str = "text", datatype: str = "BYTES", shape: tuple[int, ...] = (1,), **fields: object) -> Input:
    return Input(name=name, datatype=datatype, shape=shape, **fields)  # type: ignore[arg-type]


def _contents(*texts: bytes) -> InferTensorContents:
    return InferTensorContents(bytes_contents=texts)


def _raw(content: bytes, shape: tuple[int, ...] = (1,)) -> ModelInferRequest:
    return ModelInferRequest(inputs=[_tensor(shape=shape)], raw_input_contents=[content])


def _typed(*tensors: Input) -> ModelInferRequest:
    return ModelInferRequest(inputs=tensors)


def _asking(*outputs: Output) -> ModelInferRequest:
    request = raw_request("w1")
    request.outputs.extend(outputs)
    return request


def _saying(name: str, **value: object) -> ModelInferRequest:
    return raw_request("w1", parameters={name: InferParameter(**value)})  # type: ignore[arg-type]


_ONE = InferParameter(int64_param=1)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (ModelInferRequest(), "no input 'text'"),
        (_typed(_tensor("prompt", contents=_contents(b"a"))), "no input 'prompt' here"),
        (_typed(_tensor("x" * 500, contents=_contents(b"a"))), "no input 'x{64}' here"),
        (_typed(*[_tensor(contents=_contents(b"a"))] * 2), "two inputs 'text'"),
        (_typed(_tensor(datatype="FP32", contents=_contents(b"a"))), "datatype 'FP32'; send BYTES"),
        (_typed(_tensor(shape=(), contents=_contents(b"a"))), r"the shape \[\]; send"),
        (_typed(_tensor(shape=(1, 2), contents=_contents(b"a", b"b"))), r"the shape \[1, 2\]; send"),
        (_typed(_tensor(shape=(1, 0), contents=_contents())), r"the shape \[1, 0\]; send"),
        (_typed(_tensor(shape=(1,) * 9, contents=_contents(b"a"))), r"the shape \[1, 1, 1, 1, ...\]; send"),
        (_typed(_tensor(shape=(-1,), contents=_contents(b"a"))), r"the shape \[-1\]; send"),
        (_typed(_tensor(shape=(2**62, 4), contents=_contents(b"a"))), "the shape .4611686018427387904, 4.; send"),
        (_typed(_tensor(shape=(2**63 - 1, 1), contents=_contents(b"a"))), "9223372036854775807 texts in one call"),
        (_typed(_tensor(shape=(0,), contents=_contents())), "texts is empty"),
        (raw_request(*["w"] * (MAX_TEXTS + 1)), "9 texts in one call; send at most 8"),
        (_typed(_tensor(shape=(2,), contents=_contents(b"a"))), "has 1 elements, and a shape for 2"),
        (_typed(_tensor()), "has 0 elements, and a shape for 1"),
        (
            _typed(_tensor(contents=InferTensorContents(int_contents=[1]))),
            "int_contents; the elements of BYTES go into",
        ),
        (_typed(_tensor(contents=_contents(b"\xff"))), r"text\[0\] is not UTF-8"),
        (_raw(packed(b"a", b"\xed\xa0\x80"), (2,)), r"text\[1\] is not UTF-8"),
        (_raw(b""), "ends within element 0 of 1"),
        (_raw(b"\x02\x00\x00\x00a"), "ends within element 0 of 1"),
        (_raw(packed(b"a"), (2,)), "ends within element 1 of 2"),
        (_raw(packed(b"a") + b"\x00"), "goes on after the 1 elements"),
        (ModelInferRequest(raw_input_contents=[packed(b"a")]), "1 raw_input_contents for 0 inputs"),
        (ModelInferRequest(inputs=[_tensor()], raw_input_contents=[packed(b"a")] * 2), "2 raw_input_contents for 1"),
        (
            ModelInferRequest(inputs=[_tensor(contents=_contents(b"a"))], raw_input_contents=[packed(b"a")]),
            "contents beside raw_input_contents",
        ),
        (
            _typed(_tensor(contents=_contents(b"a")), _tensor("text_pair", shape=(2,), contents=_contents(b"a", b"b"))),
            "2 texts in text_pair for 1 in text",
        ),
        (_typed(_tensor(contents=_contents(b"a")), _tensor("text_pair", contents=_contents(b"b"))), "no second text"),
        (_typed(_tensor(parameters={"shared_memory_region": _ONE})), "no shared memory"),
        (_asking(Output(name="label", parameters={"shared_memory_byte_size": _ONE})), "no shared memory"),
        (_asking(Output(name="vector")), "no output 'vector' here"),
        (_asking(Output(name="embedding")), "the model has no output 'embedding'; it has label, score"),
        (_asking(Output(name="entities")), "the model has no output 'entities'; it has label, score, scores, logits"),
        (_asking(Output(name="label"), Output(name="label")), "'label' is asked for twice"),
        (_asking(Output(name="score", parameters={"classification": _ONE})), "score has no classification"),
        (
            _asking(Output(name="scores", parameters={"classification": InferParameter(int64_param=0)})),
            "classification is 0",
        ),
        (
            _asking(Output(name="scores", parameters={"classification": InferParameter(int64_param=-1)})),
            "classification is no whole number",
        ),
        (_saying("priority", int64_param=-1), "priority is no whole number"),
        (_saying("priority"), "priority is no whole number"),
        (_saying("timeout", string_param="٣"), "timeout is no whole number"),
        (_saying("timeout", string_param="9" * 5000), "timeout is no whole number"),
    ],
)
async def test_refuses_bad_request(infer: Infer, request_: ModelInferRequest, words: str) -> None:
    """Raise InvalidRequest in one short line, count the failure, and run nothing."""
    with pytest.raises(InvalidRequest, match=words) as caught:
        await infer(request_)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
    assert infer.statistics.message(infer.catalog.model).inference_stats.fail.count == 1
    assert not infer.model.queries


async def test_refuses_unknown_model(infer: Infer) -> None:
    """Raise ModelNotFound, and count it for no model."""
    for request in (raw_request("w1", model_name="other"), raw_request("w1", model_version="2")):
        with pytest.raises(ModelNotFound):
            await infer(request)
    assert infer.statistics.message(infer.catalog.model).inference_stats.fail.count == 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (InferParameter(uint64_param=0), Priority.NORMAL),
        (InferParameter(uint64_param=1), Priority.HIGH),
        (InferParameter(int64_param=2), Priority.NORMAL),
        (InferParameter(string_param="3"), Priority.LOW),
        (InferParameter(uint64_param=4), Priority.NORMAL),
        (InferParameter(uint64_param=2**64 - 1), Priority.NORMAL),
    ],
)
async def test_priority(infer: Infer, value: InferParameter, expected: Priority) -> None:
    """Take level 1 of three for the most urgent; 0 and unknown levels for the default."""
    await infer(raw_request("w1", parameters={"priority": value, "sequence_id": InferParameter(int64_param=5)}))
    assert infer.model.queries[0].priority is expected


@pytest.mark.parametrize(
    "value",
    [
        InferParameter(int64_param=2_000_000),
        InferParameter(uint64_param=2_000_000),
        InferParameter(string_param="2000000"),
    ],
)
async def test_timeout_is_a_deadline(infer: Infer, value: InferParameter) -> None:
    """Take the lesser of the call's deadline and the timeout in microseconds; 0 for none."""
    request, start = raw_request("w1", parameters={"timeout": value}), perf_counter()
    await infer(request, 1e12)
    await infer(request, -1e12)
    await infer(raw_request("w1", parameters={"timeout": InferParameter(int64_param=0)}))
    own, callers, none = (query.deadline for query in infer.model.queries)
    assert own is not None
    assert 0 < own - start <= 2 + perf_counter() - start
    assert (callers, none) == (-1e12, None)


async def test_timeout_means_nothing_unless_allowed(bundle: Path) -> None:
    """Ignore any timeout, as Triton; some clients put seconds into it."""
    infer = Infer(Echo(open_bundle(bundle).manifest, [1, 3, 2]), allow_timeout_override=False)
    for value in (InferParameter(int64_param=1), InferParameter(string_param="30 s")):
        await infer(raw_request("w1", parameters={"timeout": value}))
    assert [query.deadline for query in infer.model.queries] == [None, None]


async def test_timeout_ends_the_wait(infer: Infer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise Expired when the timeout passes in a run, also where the call has no deadline."""

    async def never(_: object) -> object:
        return await asyncio.Event().wait()

    monkeypatch.setattr(infer.model, "predict", never)
    with pytest.raises(Expired, match="the request's timeout of 1000 microseconds passed"):
        await infer(raw_request("w1", parameters={"timeout": InferParameter(int64_param=1000)}))
    assert infer.statistics.message(infer.catalog.model).inference_stats.fail.count == 1
