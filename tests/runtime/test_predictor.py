"""The one way from texts to answers, without gRPC or PyTorch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bertwire_core.errors import UserError
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.predictor import Predictor
from support import random_texts


def test_answers_are_those_of_single_texts(bundle: Path) -> None:
    """However many texts there are, in order, with scores that sum to 1."""
    predictor = Predictor(open_bundle(bundle), "fp32", "cpu", 1)
    texts = random_texts(70)
    outputs = predictor.run(texts)
    assert len(outputs) == 70
    for text, output in zip(texts, outputs, strict=True):
        (alone,) = predictor.run([text])
        np.testing.assert_allclose(output.logits, alone.logits, atol=1e-5)
        assert output.scores.sum() == pytest.approx(1)
        assert output.token_count == alone.token_count
        assert len(predictor.head.chosen(predictor.manifest, output)) == len(predictor.manifest.labels)
    assert not predictor.run([])
    predictor.close()


def test_cuts_on_the_side_that_is_asked_for(bundle: Path) -> None:
    """The model's own side by default."""
    predictor = Predictor(open_bundle(bundle), "fp32", "cpu", 1)
    long = "w1 " * 40 + "w2"
    (own,), (left,) = predictor.encode([long]), predictor.encode([long], "left")
    assert own.truncated
    assert left.truncated
    assert own.ids != left.ids


def test_says_what_variants_there_are(bundle: Path) -> None:
    """One line, with what the bundle has."""
    with pytest.raises(UserError, match="the bundle has no variant fp64 for cpu; it has "):
        Predictor(open_bundle(bundle), "fp64", "cpu", 1)


def test_needs_neither_grpc_nor_torch(bundle: Path) -> None:
    """Nor the client, the trainer's or the exporter's packages."""
    code = (
        "import sys; from pathlib import Path; from bertwire_runtime.bundle import open_bundle;"
        "from bertwire_runtime.predictor import Predictor;"
        f"Predictor(open_bundle(Path({str(bundle)!r})), None, 'cpu', 1).run(['w1 w2']);"
        "print(sorted({each.split('.')[0] for each in sys.modules} & "
        "{'grpc', 'torch', 'transformers', 'onnx', 'bertwire_client', 'bertwire_export', 'bertwire_server'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
