"""Texts on which an encoder's graphs are compared with PyTorch by their vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from bertwire_core.errors import UserError
from bertwire_core.files import unicode_name
from bertwire_core.tasks import ServedTask
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
from bertwire_runtime.bundle import Calibration, Quality, Scores, Split
from bertwire_runtime.bundle import Reference as ReferenceScores
from bertwire_runtime.runner import Runner

# Nearest neighbours of a text that are compared. With half as many a text has fewer ways to differ.
_NEIGHBOURS = 10
# Texts whose neighbours are looked for, spread over all. With half as many a share is known half as finely.
_ASKED = 1000
# Rows of similarities computed at once; of 100,000 texts they are 100 MB.
_BLOCK = 256
# Texts below which neighbours mean little.
_LEAST_TEXTS = 20

Places = NDArray[np.int64]


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

    @property
    def scores(self) -> ReferenceScores:
        """PyTorch's scores: it has its own vectors and neighbours."""
        return ReferenceScores(dev=self._score(self.vectors), test=None)

    @property
    def one_row(self) -> Scores:
        """One neighbour may always differ: of two texts as near as each other rounding chooses."""
        return {"neighbours": 1 / nearest(self.vectors).size}

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
        cosines = (_unit(vectors) * _unit(self.vectors)).sum(axis=1)
        kept = nearest(vectors)[:, :, None] == nearest(self.vectors)[:, None, :]
        found = {"cosine": cosines.mean(), "least_cosine": cosines.min(), "neighbours": kept.any(axis=2).mean()}
        if self.pairs is not None:
            unit = _unit(vectors)
            similar = (unit[self.pairs.first] * unit[self.pairs.second]).sum(axis=1)
            found["spearman"] = score("regression", similar, self.pairs.scores, ["cosine"])["spearman"]
        return {name: float(value) for name, value in found.items()}


def _unit(vectors: Logits) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    found: NDArray[np.float64] = wide / np.maximum(norms, np.finfo(np.float32).tiny)
    return found


def nearest(vectors: Logits) -> Places:
    """Return the places of the nearest texts by cosine, int64 [asked texts, neighbours], without the text itself."""
    unit = _unit(vectors)
    count = min(_NEIGHBOURS, len(unit) - 1)
    asked = np.linspace(0, len(unit) - 1, min(_ASKED, len(unit))).astype(np.int64)
    found = []
    for block in np.split(asked, range(_BLOCK, len(asked), _BLOCK)):
        similar = unit[block] @ unit.T
        similar[np.arange(len(block)), block] = -np.inf
        found.append(np.argpartition(-similar, count - 1, axis=1)[:, :count])
    return np.concatenate(found)


def read_vectors(config: ExportConfig, checkpoint: Checkpoint, tokenizer: Tokenizer) -> VectorReference:
    """Read the texts of `--dev` and `--texts`, else those of this package, and run PyTorch on them.

    Raises:
        UserError: a file is faulty, there are too few texts, or PyTorch's vectors are not finite.
    """
    named, pairs, remarks = [], list[tuple[str, str]](), list[str]()
    numbers = np.zeros(0)
    if config.dev is not None:
        columns = Columns(config.text_column, config.text_pair_column, config.label_column)
        rows = read_labelled(config.dev, columns, "regression", config.sheet)
        if not rows.text_pairs:
            raise UserError(
                f"{config.dev} has no second texts: --dev of an encoder has pairs of texts with scores; choose the "
                "column with --text-pair-column, or give texts alone with --texts"
            )
        pairs, numbers = [(str(one), str(other)) for one, other in rows.inputs], np.array(rows.targets, np.float64)
        named.append(config.dev)
        remarks += rows.remarks
    given = read_distinct(config.texts, config.text_column, "--text-column", config.sheet) if config.texts else []
    named += config.texts
    texts = list(dict.fromkeys([*chain.from_iterable(pairs), *given])) if named else built_in()
    if not named:
        remarks.append(f"proven on {len(texts)} texts in English that come with bertwire; give your own with --texts")
    if read_sentence(source_folder(config.checkpoint)).prompt:
        remarks.append("sentence-transformers puts a prompt before each text of this encoder; send it with your texts")
    if len(texts) < _LEAST_TEXTS:
        raise UserError(f"{len(texts)} distinct texts are too few to compare neighbours; give {_LEAST_TEXTS} at least")
    encodings = tokenizer.encode_batch(texts)
    require_same_tokens(checkpoint, texts, encodings)
    vectors = np.stack(torch_each(checkpoint, encodings, "PyTorch"))
    if not np.isfinite(vectors).all():
        raise UserError(f"{config.checkpoint}: its vectors are not all finite numbers; choose another encoder")
    source = ", ".join(map(unicode_name, named)) or "bertwire's own texts"
    places = {text: place for place, text in enumerate(texts)}
    ends = [np.array([places[pair[end]] for pair in pairs], np.int64) for end in (0, 1)]
    return VectorReference(
        Split(source=source, **fingerprint(texts)),
        texts,
        encodings,
        vectors,
        Pairs(*ends, numbers) if pairs else None,
        rare_texts(checkpoint, encodings),
        remarks,
    )


def built_in() -> list[str]:
    """Return the texts of this package: English, of many kinds and lengths."""
    return files("bertwire_export").joinpath("texts.txt").read_text(encoding="utf-8").splitlines()
