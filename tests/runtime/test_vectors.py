"""Vectors of texts: bundles that hold them, the predictor, and vectors that are cut."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bags import logits, make_bag, table
from bertwire_runtime.bundle import BundleError, open_bundle
from bertwire_runtime.predictor import Predictor
from bertwire_runtime.vectors import resized
from support import reseal

FIELDS: dict[str, Any] = {
    "task": "embedding",
    "labels": [],
    "embedding": {"dimensions": 8, "pooling": "mean", "normalize": False},
}


@pytest.fixture
def folder(bundle: Path, tmp_path: Path) -> Path:
    """A bundle whose vectors are sums of rows of a table."""
    return make_bag(bundle, tmp_path / "vectors", table(labels=8), **FIELDS)


def test_predictor_gives_vectors(folder: Path) -> None:
    """The graph's output as it is, with the tokens that were read; no label is given."""
    predictor = Predictor(open_bundle(folder), None, "cpu", 1)
    one, long = predictor.run(["w1 w2", "w3 " * 40])
    assert one.embedding is not None
    np.testing.assert_array_equal(one.embedding, logits(table(labels=8), "w1", "w2"))
    assert (one.token_count, one.truncated, long.truncated) == (4, False, True)
    assert not list(predictor.head.given(predictor.manifest, one))
    assert predictor.head.chosen(predictor.manifest, one) == []
    assert predictor.manifest.width == 8
    predictor.close()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"embedding": None}, "has an embedding"),
        ({"labels": ["a"]}, "1 labels do not fit"),
        ({"task": "token_classification", "labels": ["O", "B-x"]}, "has no embedding"),
        ({"schema_version": 3}, "schemas before 4 have no embeddings"),
        ({"chunks": 2}, "chunks are for single texts with labels"),
        ({"embedding": {"dimensions": 8, "pooling": "median", "normalize": False}}, "'first', 'mean' or 'max'"),
    ],
)
def test_manifest_refuses(folder: Path, tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    """A vector belongs to the task of vectors alone, without labels."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    reseal(copy, lambda manifest: manifest.update(fields))
    with pytest.raises(BundleError, match=words):
        open_bundle(copy)


def test_resized() -> None:
    """The first dimensions, of norm 1 where asked for; nothing of a zero vector is divided by zero."""
    vector = np.array([3, 4, 12], np.float32)
    np.testing.assert_array_equal(resized(vector, 2, normalize=False), [3, 4])
    np.testing.assert_allclose(resized(vector, 2, normalize=True), [0.6, 0.8], rtol=1e-6)
    assert np.linalg.norm(resized(vector, normalize=True)) == pytest.approx(1)
    np.testing.assert_array_equal(resized(np.zeros(3, np.float32), normalize=True), [0, 0, 0])
