"""Answers that are kept: by themselves, and through a model."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from bags import VOCABULARY, make_bag, table
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.predictor import Predictor
from bertwire_runtime.tokenizer import Encoded
from bertwire_server.errors import ModelFailed
from bertwire_server.model.cache import Cache
from bertwire_server.model.model import Model, Serving
from bertwire_server.query import Query


def text(*ids: int, types: tuple[int, ...] = ()) -> Encoded:
    """A tokenized text."""
    return Encoded(list(ids), list(types or [0] * len(ids)), truncated=False)


def test_every_difference_makes_another_key() -> None:
    """The tokens, their segments, where the one ends and the other begins, and the client."""
    cache = Cache(1000)
    texts = [
        ("", text(1, 2)),
        ("a", text(1, 2)),
        ("", text(2, 1)),
        ("", text(1, 2, types=(0, 1))),
        ("", text(1, 2, types=(1, 0))),
        ("", text(1, 2, 3)),
        ("", text(70000, 2)),
    ]
    assert len({cache.key(client, each) for client, each in texts}) == len(texts)
    assert cache.key("a", text(1, 2)) == cache.key("a", text(1, 2))


def test_least_recently_used_goes_first() -> None:
    """It holds no more bytes than it may; what was asked for last stays; logits are no view of a batch."""
    cache, batch = Cache(5000), np.zeros((100, 100), np.float32)
    keys = [cache.key("", text(number)) for number in range(100)]
    for number, key in enumerate(keys):
        cache.put(key, batch[number])
        assert cache.get(keys[0]) is not None
        assert cache.bytes <= 5000
    kept = [number for number, key in enumerate(keys) if cache.get(key) is not None]
    assert kept[0] == 0
    assert 3 <= len(kept) <= 10
    assert kept[1:] == list(range(100 - len(kept) + 1, 100))
    found = cache.get(keys[0])
    assert found is not None
    assert found.base is None


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    """And throws nothing out."""
    cache = Cache(1000)
    cache.put(b"small", np.zeros(3, np.float32))
    cache.put(b"large", np.zeros(1000, np.float32))
    assert cache.get(b"small") is not None
    assert cache.get(b"large") is None


@pytest.fixture
async def model(bundle: Path) -> AsyncIterator[Model]:
    """The int8 variant, whose answers do not depend on their batch, with a cache."""
    made = Model(Predictor(open_bundle(bundle), "int8", "cpu", 1), Serving(cache_bytes=1 << 20))
    made.start()
    yield made
    await made.stop()


async def test_same_answer_without_a_run(model: Model) -> None:
    """The same text of the same client is answered from memory, alone or among others; another client's is run."""
    first = await model.predict(Query(["w1 w2", "w3"], client="a"))
    assert model.totals.texts == 2
    again = await model.predict(Query(["w3", "w4", "w1 w2"], client="a"))
    assert model.totals.texts == 3
    for one, other in ((again[2], first[0]), (again[0], first[1])):
        np.testing.assert_array_equal(one.output.logits, other.output.logits)
    await model.predict(Query(["w3"], client="b"))
    assert model.totals.texts == 4


@pytest.mark.parametrize("chunks", [1, 3])
async def test_failing_text_is_named_by_its_place(bundle: Path, tmp_path: Path, chunks: int) -> None:
    """In the call, whatever of it is kept and however many chunks the texts before it have."""
    weights = table()
    weights[VOCABULARY.index("w50")] = np.nan
    folder = make_bag(bundle, tmp_path / "tiny", weights, chunks=chunks, chunk_overlap=2)
    model = Model(Predictor(open_bundle(folder), threads=1), Serving(cache_bytes=1 << 20))
    model.start()
    await model.predict(Query(["w1 " * 70, "w2"]))
    with pytest.raises(ModelFailed, match=r"^the model gives no finite numbers for texts\[3\]$"):
        await model.predict(Query(["w2", "w3 " * 40, "w1 " * 70, "w50", "w4"]))
    await model.stop()


async def test_variant_that_depends_on_its_batch_keeps_nothing(bundle: Path) -> None:
    """fp32's sums differ by rounding with the batch's shape."""
    predictor = Predictor(open_bundle(bundle), "fp32", "cpu", 1)
    (proof,) = predictor.engine.variant.proofs
    model = Model(predictor, Serving(cache_bytes=1 << 20))
    model.start()
    for _ in range(2):
        await model.predict(Query(["w1 w2"]))
    assert model.totals.texts == (1 if proof.batch_variance == 0 else 2)
    await model.stop()
