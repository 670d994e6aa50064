"""Vectors of texts by every protocol, as a real server process gives them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from bags import logits, make_bag, table
from bertwire.oip import inference_pb2 as oip
from bertwire.oip.inference_pb2_grpc import GRPCInferenceServiceStub
from bertwire.tei import tei_pb2 as tei
from bertwire.tei import tei_pb2_grpc as tei_rpc
from bertwire.v1 import embedder_pb2 as pb
from bertwire.v1.classifier_pb2 import ClassifyRequest, ExplainRequest, GetModelRequest
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire.v1.embedder_pb2_grpc import EmbedderStub
from support import Serve, Server

TABLE = table(labels=8)
LONG = "w3 " * 40
Call = Any


# Of 11 numbers that a graph gives, three are logits.
VECTOR = {"dimensions": 8, "pooling": "mean", "normalize": False}


def fields(*, normalize: bool) -> dict[str, Any]:
    """What makes a bundle of the table one of vectors."""
    return {
        "task": "embedding",
        "labels": [],
        "embedding": {"dimensions": 8, "pooling": "mean", "normalize": normalize},
    }


def vector(*words: str) -> NDArray[np.float32]:
    """The vector of a text of these words."""
    return logits(TABLE, *words)


def unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = values / np.linalg.norm(values)
    return found


@pytest.fixture(scope="module")
def server(serve: Serve, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of vectors that are not normalized, with a cache, a model that says it normalizes, and one of labels."""
    folder = tmp_path_factory.mktemp("models")
    make_bag(bundle, folder / "plain" / "1", TABLE, name="plain", **fields(normalize=False))
    make_bag(bundle, folder / "unit" / "1", TABLE, name="unit", **fields(normalize=True))
    make_bag(bundle, folder / "labels" / "1", table(), name="labels")
    make_bag(bundle, folder / "both" / "1", table(labels=11), name="both", embedding=VECTOR)
    with serve(folder, "--default-model", "plain", "--cache-mb", 1, "--max-texts", 40) as running:
        yield running


@pytest.fixture
def embed(channel: grpc.Channel) -> Call:
    """The method `Embed`."""
    return lambda **fields: EmbedderStub(channel).Embed(pb.EmbedRequest(**fields), timeout=20)


def test_embed(embed: Call, channel: grpc.Channel) -> None:
    """Give each text's vector in order, with what was read of it, the second time from the cache."""
    for _ in range(2):
        response = embed(texts=["w1 w2", "w3", LONG])
        assert (response.model, response.model_version) == ("plain", "1")
        one, two, long = response.embeddings
        np.testing.assert_array_equal(np.array(one.values, np.float32), vector("w1", "w2"))
        np.testing.assert_array_equal(np.array(two.values, np.float32), vector("w3"))
        assert (one.token_count, one.truncated, long.truncated) == (4, False, True)
        assert one.timing.tokenize_us > 0
    model = ClassifierStub(channel).GetModel(GetModelRequest(model="plain"), timeout=20)
    assert (model.task, model.dimensions, list(model.labels)) == ("embedding", 8, [])


def test_cut_and_normalized(embed: Call) -> None:
    """Cut to the first dimensions; normalize what is cut of a model that normalizes, and others where asked."""
    whole = vector("w1", "w2")
    asked: dict[str, dict[str, Any]] = {
        "cut": {"dimensions": 3},
        "length": {"normalize": True},
        "both": {"dimensions": 3, "normalize": True},
        "unit": {"model": "unit"},
        "unit cut": {"model": "unit", "dimensions": 3},
        "unit all": {"model": "unit", "dimensions": 8},
    }
    found = {name: np.array(embed(texts=["w1 w2"], **options).embeddings[0].values) for name, options in asked.items()}
    np.testing.assert_array_equal(found["cut"], whole[:3])
    np.testing.assert_allclose(found["length"], unit(whole), rtol=1e-6)
    np.testing.assert_allclose(found["both"], unit(whole[:3]), rtol=1e-6)
    np.testing.assert_array_equal(found["unit"], whole)  # as the graph gives it
    np.testing.assert_array_equal(found["unit all"], whole)
    np.testing.assert_allclose(found["unit cut"], unit(whole[:3]), rtol=1e-6)


def test_labels_and_vector_of_one_model(embed: Call, channel: grpc.Channel) -> None:
    """Classify with the logits, and give the vector behind them."""
    expected = logits(table(labels=11), "w1", "w2")
    request = ClassifyRequest(model="both", texts=["w1 w2"], logits=True)
    (result,) = ClassifierStub(channel).Classify(request, timeout=20).results
    np.testing.assert_array_equal(result.logits, expected[:3])
    assert sum(each.score for each in result.labels) == pytest.approx(1)
    (found,) = embed(model="both", texts=["w1 w2"]).embeddings
    np.testing.assert_array_equal(found.values, expected[3:])
    metadata = GRPCInferenceServiceStub(channel).ModelMetadata(oip.ModelMetadataRequest(name="both"), timeout=20)
    assert {each.name: list(each.shape) for each in metadata.outputs} == {
        "label": [-1, 1],
        "score": [-1, 1],
        "scores": [-1, 3],
        "logits": [-1, 3],
        "embedding": [-1, 8],
    }


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"texts": []}, "texts is empty"),
        ({"texts": ["w1", " "]}, r"texts\[1\] is blank"),
        ({"texts": ["w1"] * 41}, "41 texts in one call"),
        ({"texts": ["w1"], "dimensions": 0}, "dimensions is 0; it must be 1 to 8, or unset"),
        ({"texts": ["w1"], "dimensions": 9}, "dimensions is 9"),
        ({"texts": ["w1"], "model": "labels"}, "gives no embeddings; ask bertwire.v1.Classifier"),
        ({"texts": [LONG], "truncation": 3}, "more than the 32 tokens"),
        ({"texts": ["w1"], "truncation": 9}, "truncation is 9"),
        ({"texts": ["w1"], "priority": 9}, "priority is 9"),
    ],
)
def test_refuses(embed: Call, request_: dict[str, Any], words: str) -> None:
    """Answer INVALID_ARGUMENT with what is wrong."""
    with pytest.raises(grpc.RpcError, match=words) as caught:
        embed(**request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_no_labels(channel: grpc.Channel) -> None:
    """Refuse what asks an encoder for labels, and say whom to ask."""
    stub = ClassifierStub(channel)
    predict = tei_rpc.PredictStub(channel).Predict
    for method, request, words in (
        (stub.Classify, ClassifyRequest(texts=["w1"]), "ask bertwire.v1.Embedder"),
        (stub.Classify, ClassifyRequest(texts=["w1"], threshold=0.5), "ask bertwire.v1.Embedder"),
        (stub.Explain, ExplainRequest(text="w1"), "only a label can be explained"),
        (predict, tei.PredictRequest(inputs="w1"), "call tei.v1.Embed"),
    ):
        with pytest.raises(grpc.RpcError, match=words) as caught:
            method(request, timeout=20)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_stream(channel: grpc.Channel) -> None:
    """Answer each request by its id; one that fails leaves the others alone."""
    requests = [
        pb.EmbedStreamRequest(id="a", request=pb.EmbedRequest(texts=["w1", "w2"], dimensions=2)),
        pb.EmbedStreamRequest(id="b", request=pb.EmbedRequest(texts=[""])),
        pb.EmbedStreamRequest(id="c", request=pb.EmbedRequest(texts=["w3"]), timeout_ms=20_000),
        pb.EmbedStreamRequest(id="d", request=pb.EmbedRequest(texts=["w3"]), timeout_ms=0),
        pb.EmbedStreamRequest(id="e" * 129, request=pb.EmbedRequest(texts=["w3"])),
    ]
    answers = {each.id[:1]: each for each in EmbedderStub(channel).EmbedStream(iter(requests), timeout=20)}
    assert [list(each.values) for each in answers["a"].response.embeddings] == [
        list(vector("w1")[:2]),
        list(vector("w2")[:2]),
    ]
    assert list(answers["c"].response.embeddings[0].values) == list(vector("w3"))
    failures = {name: answers[name].failure for name in "bde"}
    assert {each.code for each in failures.values()} == {grpc.StatusCode.INVALID_ARGUMENT.value[0]}
    assert "blank" in failures["b"].message
    assert "timeout_ms is 0" in failures["d"].message
    assert "the id has more than 128 bytes" in failures["e"].message


def test_open_inference(channel: grpc.Channel) -> None:
    """Give vectors as the output `embedding`, which the metadata describe."""
    stub = GRPCInferenceServiceStub(channel)
    request = oip.ModelInferRequest(model_name="plain")
    text = request.inputs.add(name="text", datatype="BYTES", shape=[2])
    text.contents.bytes_contents.extend([b"w1 w2", b"w3"])
    response = stub.ModelInfer(request, timeout=20)
    (output,) = response.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("embedding", "FP32", [2, 8])
    expected = np.concatenate([vector("w1", "w2"), vector("w3")])
    np.testing.assert_array_equal(np.array(output.contents.fp32_contents, np.float32), expected)
    metadata = stub.ModelMetadata(oip.ModelMetadataRequest(name="plain"), timeout=20)
    assert [(each.name, list(each.shape)) for each in metadata.outputs] == [("embedding", [-1, 8])]


def test_tei_embed(channel: grpc.Channel) -> None:
    """Give the vector of one text, normalized where asked for, also in a stream; and what the model is."""
    stub = tei_rpc.EmbedStub(channel)
    response = stub.Embed(tei.EmbedRequest(inputs="w1 w2"), timeout=20)
    np.testing.assert_array_equal(np.array(response.embeddings, np.float32), vector("w1", "w2"))
    assert (response.metadata.compute_chars, response.metadata.compute_tokens) == (5, 4)
    requests = (tei.EmbedRequest(inputs=f"w{at}", normalize=True) for at in range(5))
    for at, each in enumerate(stub.EmbedStream(requests, timeout=20)):
        np.testing.assert_allclose(each.embeddings, unit(vector(f"w{at}")), rtol=1e-5)
    info = tei_rpc.InfoStub(channel).Info(tei.InfoRequest(), timeout=20)
    assert info.model_type == tei.MODEL_TYPE_EMBEDDING
    with pytest.raises(grpc.RpcError, match="there is no prompt 'query'"):
        stub.Embed(tei.EmbedRequest(inputs="w1", prompt_name="query"), timeout=20)
    with pytest.raises(grpc.RpcError, match="more than the 32 tokens"):
        stub.Embed(tei.EmbedRequest(inputs=LONG), timeout=20)


@pytest.mark.parametrize(
    ("name", "request_", "words"),
    [
        ("EmbedSparse", tei.EmbedSparseRequest(inputs="w1"), "no sparse vectors"),
        ("EmbedSparseStream", iter([tei.EmbedSparseRequest(inputs="w1")]), "no sparse vectors"),
        ("EmbedAll", tei.EmbedAllRequest(inputs="w1"), "no vectors of single tokens"),
        ("EmbedAllStream", iter([tei.EmbedAllRequest(inputs="w1")]), "no vectors of single tokens"),
    ],
)
def test_tei_refuses_by_name(channel: grpc.Channel, name: str, request_: Any, words: str) -> None:  # noqa: ANN401
    """Answer UNIMPLEMENTED, and say what there is."""
    method = getattr(tei_rpc.EmbedStub(channel), name)
    with pytest.raises(grpc.RpcError, match=words) as caught:
        list(method(request_, timeout=20))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_tei_rerank(channel: grpc.Channel) -> None:
    """Rank texts by the cosine with the query, best first, with their texts where asked for."""
    texts = ["w5 w6", "w1 w2", "w1", "w9 w9"]
    request = tei.RerankRequest(query="w1 w2", texts=texts, return_text=True)
    response = tei_rpc.RerankStub(channel).Rerank(request, timeout=20)
    expected = [float(unit(vector("w1", "w2")) @ unit(vector(*text.split()))) for text in texts]
    assert [each.index for each in response.ranks] == sorted(range(4), key=lambda at: -expected[at])
    for each in response.ranks:
        assert (each.score, each.text) == (pytest.approx(expected[each.index], abs=1e-6), texts[each.index])
    assert response.ranks[0].index == 1
    assert response.metadata.compute_tokens == 4 + 4 + 4 + 3 + 4
    with pytest.raises(grpc.RpcError, match="texts is empty"):
        tei_rpc.RerankStub(channel).Rerank(tei.RerankRequest(query="w1"), timeout=20)


def test_tei_rerank_counts_texts(channel: grpc.Channel) -> None:
    """Take as many texts as a call may have, beside the query, and name what is wrong as the caller sent it."""
    rerank = tei_rpc.RerankStub(channel).Rerank
    assert len(rerank(tei.RerankRequest(query="w1", texts=["w2"] * 40), timeout=20).ranks) == 40
    for request, words in (
        (tei.RerankRequest(query="w1", texts=["w2"] * 41), "41 texts in one call; send at most 40"),
        (tei.RerankRequest(query="w1", texts=["w2", " "]), r"texts\[1\] is blank"),
        (tei.RerankRequest(query="w1", texts=["w2", LONG]), r"texts\[1\] has more than the 32 tokens"),
        (tei.RerankRequest(query=" ", texts=["w2"]), "query is blank"),
        (tei.RerankRequest(query=LONG, texts=["w2"]), "query has more than the 32 tokens"),
    ):
        with pytest.raises(grpc.RpcError, match=words) as caught:
            rerank(request, timeout=20)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_tei_rerank_by_pairs(serve: Serve, bundle: Path, tmp_path: Path) -> None:
    """Rank by the number that a model of pairs gives."""
    weights = table(labels=1)
    pairs = make_bag(bundle, tmp_path / "pairs", weights, task="regression", text_pairs=True, labels=["fit"])
    texts = ["w1", "w2", "w3 w4"]
    with serve(pairs) as running, grpc.insecure_channel(running.address) as channel:
        response = tei_rpc.RerankStub(channel).Rerank(tei.RerankRequest(query="w9", texts=texts), timeout=20)
        assert tei_rpc.InfoStub(channel).Info(tei.InfoRequest(), timeout=20).model_type == tei.MODEL_TYPE_RERANKER
    found = {each.index: each.score for each in response.ranks}
    separator = weights[3, 0]
    for at, text in enumerate(texts):
        expected = logits(weights, "w9", *text.split())[0] + separator
        assert found[at] == pytest.approx(float(expected))
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_tei_rerank_by_labels(serve: Serve, bundle: Path) -> None:
    """Refuse to rank by a model of several labels."""
    with (
        serve(bundle) as running,
        grpc.insecure_channel(running.address) as channel,
        pytest.raises(grpc.RpcError, match="it cannot rank") as caught,
    ):
        tei_rpc.RerankStub(channel).Rerank(tei.RerankRequest(query="w9", texts=["w1"]), timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_tei_tokenize(channel: grpc.Channel) -> None:
    """Give every token with its place, special ones by name, of a text that the model would cut too; no run is made."""
    stub = tei_rpc.TokenizeStub(channel)
    response = stub.Tokenize(tei.EncodeRequest(inputs="w1 é w20", add_special_tokens=True), timeout=20)
    assert [(each.text, each.special) for each in response.tokens] == [
        ("[CLS]", True),
        ("w1", False),
        ("é", False),
        ("w20", False),
        ("[SEP]", True),
    ]
    assert [(each.start, each.stop) for each in response.tokens[1:4]] == [(0, 2), (3, 4), (5, 8)]
    assert not response.tokens[0].HasField("start")
    requests = (tei.EncodeRequest(inputs=text) for text in ("w1", LONG))
    assert [len(each.tokens) for each in stub.TokenizeStream(requests, timeout=20)] == [1, 40]
    with pytest.raises(grpc.RpcError, match="blank"):
        stub.Tokenize(tei.EncodeRequest(inputs=" "), timeout=20)
    with pytest.raises(grpc.RpcError, match="there is no prompt 'query'"):
        stub.Tokenize(tei.EncodeRequest(inputs="w1", prompt_name="query"), timeout=20)


def test_tei_tokenize_long(channel: grpc.Channel, embed: Call) -> None:
    """Answer others while a stream of the longest texts is tokenized, and end with the stream."""
    requests = (tei.EncodeRequest(inputs="a," * 50_000) for _ in range(100))
    stream = tei_rpc.TokenizeStub(channel).TokenizeStream(requests, timeout=60)
    first = next(stream)
    assert len(first.tokens) == 100_000
    assert (first.tokens[-1].start, first.tokens[-1].stop) == (99_999, 100_000)
    for _ in range(5):
        assert embed(texts=["w1 w2"]).embeddings
    assert stream.is_active()
    stream.cancel()
    assert embed(texts=[LONG * 25]).embeddings
