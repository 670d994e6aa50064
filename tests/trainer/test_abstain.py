"""Abstaining: the threshold that is chosen, what is recorded, and what is refused."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from bertwire_core.errors import UserError
from bertwire_core.pooled import PooledClassifier
from bertwire_core.scope import SCOPE, Scope, cosines, entropies, read_centroids, scopes, write_centroids
from bertwire_data.labelled import Columns, read_labelled
from bertwire_trainer.centroids import draw_by_label, find_centroids
from bertwire_trainer.predict import embed
from bertwire_trainer.record import TrainingRecord
from bertwire_trainer.stages.abstain import choose_threshold
from bertwire_trainer.tokens import tokenize
from bertwire_trainer.trained import load_trained

Run = Callable[..., Path]
Rows = list[tuple[str, str]]


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


def refused(output: Path) -> int:
    """How many texts of dev the checkpoint refuses by the files that it holds."""
    model, tokenizer = load_trained(output, record(output))
    assert isinstance(model, PooledClassifier)
    rows = read_labelled(output / "predictions" / "dev.jsonl", Columns())
    (vectors,) = embed(model, tokenizer, tokenize(model, tokenizer, rows, numpy.zeros(len(rows), numpy.int64)), "dev")
    logits = vectors @ model.head.weight.detach().numpy().T + model.head.bias.detach().numpy()
    found = record(output).stages["abstain"]
    centroids = read_centroids((output / SCOPE).read_bytes())
    scope = Scope(centroids, found["entropy_weight"], found["threshold"])
    return int(scope.refuses(numpy.concatenate([logits, vectors], axis=1)).sum())


def test_scope_is_the_cosine_less_the_entropy() -> None:
    """The cosine is that of the nearest centroid, whatever the length; exponents of logits do not overflow."""
    centroids = numpy.eye(3, dtype=numpy.float32)[:2]
    vectors = numpy.array([[3, 4, 0], [0, 0, 5], [0, 0, 0]], numpy.float32)
    assert cosines(vectors, centroids) == pytest.approx([0.8, 0, 0])
    logits = numpy.array([[1e4, 1e4, -1e4], [0, 0, 0], [1e4, 0, 0]])
    assert entropies(logits) == pytest.approx([numpy.log(2), numpy.log(3), 0])
    assert entropies(numpy.log([0.25, 0.75])) == pytest.approx(0.5623351)
    found = scopes(logits, vectors, centroids, 0.5)
    assert found == pytest.approx([0.8 - numpy.log(2) / 2, -numpy.log(3) / 2, 0])
    assert scopes(logits[0], vectors[0], centroids, 0.5) == pytest.approx(found[0])


def test_refuses_foreign_texts_of_confident_logits() -> None:
    """With two labels a text of another kind may lie far out on the side of one, where the energy is high."""
    rng = numpy.random.default_rng(0)
    known = rng.normal(scale=0.1, size=(40, 8)).astype(numpy.float32)
    known[:20, 0] += 1
    known[20:, 0] -= 1
    foreign = rng.normal(scale=0.1, size=(20, 8)).astype(numpy.float32) + numpy.array([3, 4] + [0] * 6, numpy.float32)
    head = numpy.zeros((8, 2), numpy.float32)
    head[0] = 3, -3
    centroids = find_centroids(known, numpy.repeat([0, 1], 20), 0)
    inside, outside = (scopes(each @ head, each, centroids, 0.01) for each in (known, foreign))
    assert outside.max() < choose_threshold(inside, 2)
    energies = [numpy.logaddexp(*(each @ head).T) for each in (known, foreign)]
    assert energies[1].min() > energies[0].max()


def test_draws_rows_of_every_label() -> None:
    """A label of two rows among many keeps both; others have as many each."""
    targets = numpy.repeat([0, 1, 2], [500, 2, 500])
    places = draw_by_label(targets, 300, seed=3)
    assert numpy.bincount(targets[places]).tolist() == [100, 2, 100]
    assert (numpy.diff(places) > 0).all()


@pytest.mark.parametrize("content", [b"", b"x", write_centroids(numpy.zeros(3, numpy.float32)), "pickle", "float64"])
def test_refuses_another_file(content: bytes | str) -> None:
    """Only finite float32 vectors are centroids, and nothing is unpickled."""
    file = io.BytesIO()
    if isinstance(content, str):
        numpy.save(file, numpy.zeros((2, 2), object if content == "pickle" else float))
    with pytest.raises(ValueError, match=r"^is no "):
        read_centroids(content if isinstance(content, bytes) else file.getvalue())


def test_refuses_archives_and_wrong_lengths() -> None:
    """An archive, a shape that no memory holds, and a file that is cut or has more behind it are told in a line."""
    whole = write_centroids(numpy.ones((2, 4), numpy.float32))
    huge = io.BytesIO()
    numpy.lib.format.write_array_header_1_0(huge, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1 << 20)})
    for content in (
        b"PK\x03\x04" + bytes(100),
        huge.getvalue(),
        whole[:-1],
        whole[:40],
        whole + b"x",
        whole.replace(b")", b"["),
    ):
        with pytest.raises(ValueError, match=r"^is no "):
            read_centroids(content)
    assert (read_centroids(whole) == 1).all()


def test_refuses_what_is_not_finite() -> None:
    with pytest.raises(ValueError, match="not finite"):
        read_centroids(write_centroids(numpy.full((1, 2), numpy.nan, numpy.float32)))


def test_centroids_are_of_one_label_each() -> None:
    """One for each five texts of a label, four at most, and one of fewer; equal texts are no error."""
    rng = numpy.random.default_rng(0)
    kinds = numpy.eye(6, dtype=numpy.float32)
    vectors = numpy.concatenate([kinds[:4].repeat(10, axis=0), kinds[4:5].repeat(11, axis=0), kinds[5:]])
    targets = numpy.repeat([0, 1, 2], [40, 11, 1])
    noisy = (vectors + 0.001 * rng.normal(size=vectors.shape)).astype(numpy.float32)
    found = find_centroids(noisy, targets, 0)
    assert numpy.linalg.norm(found, axis=1) == pytest.approx(numpy.ones(len(found)), abs=1e-6)
    assert sorted(found.argmax(axis=1).tolist()) == [0, 1, 2, 3, 4, 4, 5]
    assert len(find_centroids(vectors, targets, 0)) == 7


@pytest.mark.parametrize(("refused", "threshold"), [(1, 1.5), (2, 2.5), (4, 4.5)])
def test_threshold_lies_between_two_texts(refused: int, threshold: float) -> None:
    """As many as allowed are below it, and none is next to it."""
    assert choose_threshold(numpy.array([5.0, 1, 2, 4, 3]), refused) == threshold


def test_equal_texts_are_refused_together_or_not_at_all() -> None:
    """Never more than allowed; where that leaves none it is an error."""
    assert choose_threshold(numpy.array([1.0, 2, 2, 2, 3]), 3) == 1.5
    with pytest.raises(UserError, match="equally like those of train; raise --abstain-rate"):
        choose_threshold(numpy.array([2.0, 2, 2, 3]), 2)


@pytest.mark.parametrize("method", ["full", "frozen", "prototypes"])
def test_at_most_the_rate_of_dev_is_refused(run: Run, capsys: pytest.CaptureFixture[str], method: str) -> None:
    """By what the published checkpoint holds; the options and the number are recorded and printed."""
    loop: dict[str, Any] = dict.fromkeys(("epochs", "batch_size", "learning_rate"))
    loop = {"pooling": "mean"} if method == "full" else loop
    output = run(method=method, abstain=True, abstain_rate=0.2, **loop)
    found = record(output).stages["abstain"]
    assert (found["abstain"], found["abstain_rate"], found["dev_refused"]) == (True, 0.2, 3)
    assert found["entropy_weight"] > 0
    assert refused(output) == 3
    assert "abstain: 3 of the 16 texts of dev are refused" in capsys.readouterr().err


def test_around_other_stages(run: Run) -> None:
    """The threshold is of what all other stages leave."""
    output = run(abstain=True, abstain_rate=0.2, pooling="mean", augment=["swap"], prune=True, prune_layers=1)
    found = record(output).stages
    assert list(found) == ["abstain", "prune", "augment"]
    assert refused(output) == 3


def test_folds_go_without(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A fold's dev, where the rate is of no text, is not asked for a threshold; other stages are in every training."""
    output = run(folds=2, abstain=True, abstain_rate=0.07, pooling="mean", augment=["swap"], epochs=1)
    printed = capsys.readouterr().err
    assert (printed.count("abstain: "), printed.count("augment: ")) == (1, 3)
    assert record(output).folds is not None


def test_refuses_a_rate_of_no_text(run: Run) -> None:
    """Before anything is trained."""
    with pytest.raises(UserError, match=r"^--abstain-rate 0.05 of 16 dev texts is less than one text; add rows to dev"):
        run(abstain=True, pooling="mean")


def test_refuses_the_architectures_own_head(run: Run) -> None:
    """It gives no vector."""
    with pytest.raises(UserError, match=r"^--abstain reads the pooled vector, .*; leave --pooling own out$"):
        run(abstain=True, abstain_rate=0.2, pooling="own")


def test_refuses_other_tasks(run: Run, tmp_path: Path) -> None:
    """Several labels, tags and numbers have no one class that a text may lack."""
    path = tmp_path / "several.jsonl"
    path.write_text('{"text": "w1", "labels": ["a"]}\n{"text": "w2", "labels": ["b"]}\n' * 4)
    with pytest.raises(UserError, match=r"^--abstain is for single_label; this is multi_label$"):
        run(train=path, dev=path, abstain=True)


def test_a_new_class_ends_it(run: Run, tmp_path: Path, write_rows: Callable[[str, Rows], Path]) -> None:
    """A threshold chosen without a class does not judge its texts; the command says so."""
    from bertwire_trainer.add_class.config import AddClassConfig
    from bertwire_trainer.add_class.extend import extend
    from bertwire_trainer.add_class.prepare import prepare

    loop = {"epochs": None, "batch_size": None, "learning_rate": None}
    checkpoint = run(method="prototypes", episodes=0, abstain=True, abstain_rate=0.2, **loop)
    examples = write_rows("new.jsonl", [("w60 w61", "spam")])
    output = tmp_path / "more"
    extend(prepare(AddClassConfig(checkpoint=checkpoint, examples=examples, output=output)))
    assert "abstain" in record(checkpoint).stages
    assert (checkpoint / SCOPE).is_file()
    assert not (output / SCOPE).exists()
    assert "abstain" not in record(output).stages
