"""Vectors through the clients and the command, from a server whose answers are known."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from bertwire_batch import EmbedConfig, ScoreConfig, embed_file, score_file
from bertwire_batch.cli import run_embed
from bertwire_client import AsyncClient, Client, Embedding, EmbedReply, InvalidArgumentError, Timing
from bertwire_core.errors import UserError
from fake import FakeServer

TEXTS = ["one", "two words"]
VECTORS = [[3, 1, 0.5, 0.25], [9, 2, 0.5, 0.25]]


def test_array(fake: FakeServer) -> None:
    """An array of float32, and the options reach the server."""
    with Client(fake.address) as client:
        found = client.embed(TEXTS, model="m", model_version="2", truncation="left", priority="high", normalize=True)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, VECTORS)
        np.testing.assert_array_equal(client.embed(TEXTS, dimensions=2, metadata=[("x-a", "b")]), [[3, 1], [9, 2]])
    first, second = fake.embedded
    assert (first.model, first.model_version, first.normalize, first.HasField("dimensions")) == ("m", "2", True, False)
    assert (first.truncation, first.priority, second.dimensions) == (1, 3, 2)
    assert fake.metadata[1]["x-a"] == "b"


def test_lists_without_numpy(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of floats where numpy is not installed."""
    monkeypatch.setitem(sys.modules, "numpy", None)
    with Client(fake.address) as client:
        assert client.embed(TEXTS) == VECTORS


async def test_asyncio(fake: FakeServer) -> None:
    """The same for asyncio, with what was read of each text."""
    async with AsyncClient(fake.address) as client:
        np.testing.assert_array_equal(await client.embed(TEXTS), VECTORS)
        reply = await client.embed_reply(["x" * 41])
    timing = Timing(1, 2, 3)
    assert reply == EmbedReply("fake", "7", (Embedding((41, 1, 0.5, 0.25), 41, truncated=True, timing=timing),))


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_stream(kind: str, fake: FakeServer) -> None:
    """Vectors of texts and of lists of texts over one stream; one that fails does not keep others from theirs."""
    items: list[str | list[str]] = ["one", ["two words", "one"], "bad", "\ud800"]
    options: Any = {"ordered": True, "dimensions": 2, "metadata": [("x-a", "b")]}
    if kind == "sync":
        with Client(fake.address) as client:
            answers = list(client.embed_stream(items, **options))
    else:
        async with AsyncClient(fake.address) as other:
            answers = [each async for each in other.embed_stream(items, **options)]
    assert [each.index for each in answers] == [0, 1, 2, 3]
    assert [each.reply.vectors().tolist() for each in answers[:2]] == [[[3, 1]], [[9, 2], [3, 1]]]
    for each, reason in zip(answers[2:], ("a text is bad", "no UTF-8 form"), strict=True):
        with pytest.raises(InvalidArgumentError, match=reason):
            assert each.reply
    assert (len(fake.embedded), fake.metadata[0]["x-a"]) == (3, "b")


def test_errors(fake: FakeServer) -> None:
    """The server's refusal, and what is refused before it is asked."""
    with Client(fake.address) as client:
        with pytest.raises(InvalidArgumentError, match="a text is bad"):
            client.embed(["bad"])
        options: Any = {"top_k": 1}
        with pytest.raises(TypeError, match="embed has no option 'top_k'"):
            client.embed(TEXTS, **options)
        single: Any = "one"
        with pytest.raises(TypeError, match="texts is a single string"):
            client.embed(single)
        with pytest.raises(ValueError, match="no UTF-8 form"):
            client.embed(["\ud800"])
        items: Any = [7]
        with pytest.raises(TypeError, match="item 0 of the stream is no text and no list of texts but int"):
            next(client.embed_stream(items))


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    return found


@pytest.fixture
def embedder(fake: FakeServer) -> FakeServer:
    """The fake server with a model of vectors."""
    fake.model.task, fake.model.dimensions = "embedding", 4
    return fake


def table(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    lines: list[dict[str, Any]] = [
        {"text": "one", "id": 7},
        {"text": "bad", "id": None},
        {"text": " "},
        {"text": "x" * 41, "id": "z"},
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


def test_file(embedder: FakeServer, tmp_path: Path) -> None:
    """A row for each of the file, in order; a text that fails does not keep others from their vectors."""
    path, output = table(tmp_path), tmp_path / "out.parquet"
    summary = embed_file(EmbedConfig(inputs=[path], output=output, server=[embedder.address], keep=["id"]))
    assert (summary.rows, summary.failed, summary.model) == (4, 2, "fake")
    found = rows(output)
    assert [each["row"] for each in found] == [1, 2, 3, 4]
    assert [each["id"] for each in found] == ["7", None, None, "z"]
    assert [each["text"] for each in found] == ["one", "bad", " ", "x" * 41]
    assert [each["embedding"] for each in found] == [[3, 1, 0.5, 0.25], None, None, [41, 1, 0.5, 0.25]]
    assert [each["truncated"] for each in found] == [False, None, None, True]
    assert [bool(each["error"]) for each in found] == [False, True, True, False]
    field = pyarrow.parquet.read_schema(output).field("embedding").type
    assert (str(field.value_type), field.list_size) == ("float", 4)


def test_only_new(embedder: FakeServer, tmp_path: Path) -> None:
    """Vectors of an earlier output stay, unless they failed or were made otherwise; bytes are the same."""
    path, output = table(tmp_path), tmp_path / "out.parquet"
    given: dict[str, Any] = {"inputs": [path], "output": output, "server": [embedder.address], "batch_size": 1}
    embed_file(EmbedConfig(**given))
    before = output.read_bytes()
    for options, asked in (
        ({}, {"bad"}),
        ({"normalize": True}, {"one", "bad", "x" * 41}),
        ({"normalize": True, "dimensions": 2}, {"one", "bad", "x" * 41}),
        ({}, {"one", "bad", "x" * 41}),
    ):
        embedder.embedded.clear()
        embed_file(EmbedConfig(**given, **options, only_new=output, overwrite=True))
        assert {text for request in embedder.embedded for text in request.texts} == asked
    assert output.read_bytes() == before
    with pytest.raises(UserError, match=r"in\.jsonl has no column 'embedding'; --only-new is for an output of"):
        embed_file(EmbedConfig(**given, only_new=path, overwrite=True))


def test_file_with_fewer_dimensions(embedder: FakeServer, tmp_path: Path) -> None:
    """Vectors are cut by the server; CSV is read too."""
    path, output = tmp_path / "in.csv", tmp_path / "out.parquet"
    path.write_text("body\none\ntwo words\n")
    config = {"text_column": "body", "dimensions": 2, "normalize": True, "batch_size": 1}
    embed_file(EmbedConfig(inputs=[path], output=output, server=[embedder.address], **config))
    assert [(each["body"], each["embedding"]) for each in rows(output)] == [("one", [3, 1]), ("two words", [9, 2])]
    assert all(each.normalize for each in embedder.embedded)


def test_failed_rows_are_told(embedder: FakeServer, tmp_path: Path) -> None:
    """The command says how many rows have no vector, and where the reasons are."""
    config = EmbedConfig(inputs=[table(tmp_path)], output=tmp_path / "out.parquet", server=[embedder.address])
    with pytest.raises(UserError, match="2 of 4 rows have no vector; column 'error' says why"):
        run_embed(config)


def test_refusals(fake: FakeServer, embedder: FakeServer, tmp_path: Path) -> None:
    """A model without vectors, too many dimensions, a column that is not there; `score` of a model without labels."""
    path, output = table(tmp_path), tmp_path / "out.parquet"
    given: dict[str, Any] = {"inputs": [path], "output": output, "server": [fake.address]}
    with pytest.raises(UserError, match="--dimensions 5 is above the 4 of model fake"):
        embed_file(EmbedConfig(**given, dimensions=5))
    with pytest.raises(UserError, match="gives embeddings, and no labels; bertwire embed writes them"):
        score_file(ScoreConfig(**(given | {"output": tmp_path / "out.jsonl"})))
    csv = tmp_path / "in.csv"
    csv.write_text("text\none\n")
    with pytest.raises(UserError, match="has no column 'id' but 'text'; choose one with --keep"):
        embed_file(EmbedConfig(**(given | {"inputs": [csv]}), keep=["id"]))
    embedder.model.task, embedder.model.dimensions = "regression", 0
    with pytest.raises(UserError, match="model fake gives no embeddings but is one of regression; use bertwire score"):
        embed_file(EmbedConfig(**given))
    assert not output.exists()
    with pytest.raises(ValueError, match=r"vectors are written as Parquet; give .*out\.csv the ending"):
        EmbedConfig(inputs=[path], output=tmp_path / "out.csv")
    with pytest.raises(ValueError, match="the output has a column 'error' of its own"):
        EmbedConfig(inputs=[path], output=output, keep=["error"])
