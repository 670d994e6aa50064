"""Texts on which an encoder's graphs are compared with PyTorch by their vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from bertwire_core.errors import UserError
from bertwire_core.files import unicode_name
from bertwire_core.tasks import ServedTask
from bertwire_core.vectors import normalized
from bertwire_data.labelled import Columns, read_labelled, score
from bertwire_data.texts import fingerprint, read_distinct
from bertwire_export.baseline import SplitName
from bertwire_export.checkpoint import Checkpoint
from bertwire_export.config import ExportConfig
from bertwire_export.encoder import source_folder
from bertwire_export.examples import Logits
from bertwire_export.measure import finite, onnx_each, torch_each
from bertwire_export.rare import Rare, rare_texts
from bertwire_export.sentence import read_sentence
from bertwire_export.serving_tokenizer import require_same_tokens
from bertwire_export.similarity import Places, one_neighbour, vector_scores
from bertwire_runtime.bundle import Calibration, Quality, Scores, Split
from bertwire_runtime.bundle import Reference as ReferenceScores
from bertwire_runtime.runner import Runner

# Texts below which neighbours mean little.
_LEAST_TEXTS = 20


class Pairs(NamedTuple):
    """Pairs of texts with scores: the places of both texts, int64 [pairs], and the scores, float64 [pairs]."""

    first: Places
    second: Places
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class VectorReference:
    """Distinct texts with PyTorch's vectors for them: the `Baseline` of an encoder.

    Attributes:
        split: the manifest's entry for them.
        texts: the texts.
        encodings: the tokens of each.
        vectors: PyTorch's, float32 [texts, dimensions].
        pairs: pairs of them with scores, or None.
        rare: texts with tokens that these may lack.
        remarks: how files were read, one line each.
    """

    split: Split
    texts: Sequence[str]
    encodings: list[Encoding]
    vectors: Logits
    pairs: Pairs | None
    rare: Rare
    remarks: Sequence[str]

    task: ServedTask = "embedding"
    calibration = Calibration(temperature=1.0, thresholds=(), ece_before=None, ece_after=None)
    abstention = None
    unlabelled = None

    @cached_property
    def scores(self) -> ReferenceScores:
        """PyTorch's scores: it has its own vectors and neighbours."""
        return ReferenceScores(dev=self._score(self.vectors), test=None)

    @cached_property
    def one_row(self) -> Scores:
        """What one neighbour is worth."""
        return {"neighbours": one_neighbour(self.vectors)}

    @property
    def chunks(self) -> list[list[Encoding]]:
        """The texts, each in one chunk."""
        return [[each] for each in self.encodings]

    @property
    def splits(self) -> dict[SplitName, Split]:
        """The manifest's entry."""
        return {"dev": self.split}

    def compare(self, runner: Runner, title: str, split: SplitName) -> tuple[Logits, Quality]:  # noqa: ARG002 - the interface's
        """Return a graph's vectors, float32 [texts, dimensions], with their scores and distance from PyTorch's."""
        vectors = finite(np.stack(onnx_each(runner, self.encodings, title)), title)
        difference = np.abs(vectors - self.vectors)
        return vectors, Quality(
            scores=self._score(vectors),
            label_agreement=None,
            max_logit_difference=float(difference.max()),
            p99_logit_difference=float(np.percentile(difference, 99)),
        )

    def _score(self, vectors: Logits) -> Scores:
        found = vector_scores(vectors, self.vectors)
        if self.pairs is not None:
            wide = normalized(vectors.astype(np.float64))
            similar = (wide[self.pairs.first] * wide[self.pairs.second]).sum(axis=1)
            found["spearman"] = score("regression", similar, self.pairs.scores, ["cosine"])["spearman"]
        return found


class _Given(NamedTuple):
    """What the options name: distinct texts, pairs of them with scores, a name for the manifest, and remarks."""

    texts: list[str]
    pairs: list[tuple[str, str]]
    scores: list[float]
    source: str
    remarks: list[str]


def read_vectors(config: ExportConfig, checkpoint: Checkpoint, tokenizer: Tokenizer) -> VectorReference:
    """Read the texts of `--dev` and `--texts`, else those of this package, and run PyTorch on them.

    Raises:
        UserError: a file is faulty, there are too few texts, or PyTorch's vectors are not finite.
    """
    given = _read(config)
    texts, remarks = given.texts, given.remarks
    if read_sentence(source_folder(config.checkpoint)).prompt:
        remarks.append("sentence-transformers puts a prompt before each text of this encoder; send it with your texts")
    if len(texts) < _LEAST_TEXTS:
        raise UserError(f"{len(texts)} distinct texts are too few to compare neighbours; give {_LEAST_TEXTS} at least")
    encodings = tokenizer.encode_batch(texts)
    require_same_tokens(checkpoint, texts, encodings)
    vectors = np.stack(torch_each(checkpoint, encodings, "PyTorch"))
    if not np.isfinite(vectors).all():
        raise UserError(f"{config.checkpoint}: its vectors are not all finite numbers; choose another encoder")
    split = Split(source=given.source, **fingerprint(texts))
    rare = rare_texts(checkpoint, encodings)
    return VectorReference(split, texts, encodings, vectors, _places(given), rare, remarks)


def _read(config: ExportConfig) -> _Given:
    pairs, scores, remarks = list[tuple[str, str]](), list[float](), list[str]()
    if config.dev is not None:
        columns = Columns(config.text_column, config.text_pair_column, config.label_column)
        rows = read_labelled(config.dev, columns, "regression", config.sheet)
        if not rows.text_pairs:
            raise UserError(
                f"{config.dev} has no second texts: --dev of an encoder has pairs of texts with scores; choose the "
                "column with --text-pair-column, or give texts alone with --texts"
            )
        pairs = [(str(pair[0]), str(pair[1])) for pair in rows.inputs]
        scores, remarks = [float(str(each)) for each in rows.targets], list(rows.remarks)
    alone = read_distinct(config.texts, config.text_column, "--text-column", config.sheet) if config.texts else []
    texts = list(dict.fromkeys([*chain.from_iterable(pairs), *alone]))
    source = ", ".join(unicode_name(path) for path in (config.dev, *config.texts) if path)
    if source:
        return _Given(texts, pairs, scores, source, remarks)
    texts = built_in()
    remark = f"proven on {len(texts)} texts in English that come with bertwire; give your own with --texts"
    return _Given(texts, [], [], "bertwire's own texts", [remark])


def _places(given: _Given) -> Pairs | None:
    if not given.pairs:
        return None
    places = {text: place for place, text in enumerate(given.texts)}
    first, second = (np.array([places[pair[end]] for pair in given.pairs], np.int64) for end in (0, 1))
    return Pairs(first, second, np.array(given.scores, np.float64))


def built_in() -> list[str]:
    """Return the texts of this package: English, of many kinds and lengths."""
    return files("bertwire_export").joinpath("texts.txt").read_text(encoding="utf-8").splitlines()
