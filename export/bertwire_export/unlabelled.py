"""Texts without labels, on which graphs are compared with PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
from tokenizers import Encoding, Tokenizer

from bertwire_core.errors import UserError
from bertwire_core.files import unicode_name
from bertwire_core.scope import scopes
from bertwire_core.tasks import ServedTask
from bertwire_data.texts import fingerprint, read_distinct
from bertwire_export.checkpoint import Checkpoint
from bertwire_export.config import ExportConfig
from bertwire_export.examples import Logits, in_chunks, means
from bertwire_export.measure import onnx_each, torch_each
from bertwire_export.tasks import TASK_EXPORTS
from bertwire_runtime.bundle import Abstention, Agreement, Split
from bertwire_runtime.heads import HEADS
from bertwire_runtime.runner import Runner


@dataclass(frozen=True)
class Unlabelled:
    """Texts without labels, with PyTorch's logits for them.

    Attributes:
        task: the task of the model.
        split: the manifest's entry for them.
        chunks: the tokens of each text, of a long one in chunks.
        logits: float32 [texts, labels], or [words of all texts, labels]: those that the served answers are made of;
            behind them the vectors of a model that gives both.
        labels: number of the labels.
    """

    task: ServedTask
    split: Split
    chunks: list[list[Encoding]]
    logits: Logits
    labels: int

    def agreement(
        self, runner: Runner, title: str, thresholds: Sequence[float] | None, abstention: Abstention | None
    ) -> Agreement:
        """Compare a graph with PyTorch; raise `UserError` where a logit is not finite."""
        logits = _decided(self.task, self.chunks, onnx_each(runner, _all(self.chunks), title))
        if not np.isfinite(logits).all():
            raise UserError(f"{title}: the logits are not all finite numbers; leave its precision out with --variants")
        rows = [each[:, : self.labels] for each in (logits, self.logits)]
        ours, theirs = (TASK_EXPORTS[self.task].decide(each, thresholds) for each in rows)
        same = None if ours is None or theirs is None else ours == theirs
        found = Agreement(
            decisions=0 if same is None else same.size,
            label_agreement=None if same is None else float(same.mean()),
            max_logit_difference=float(np.abs(logits - self.logits).max()),
        )
        if abstention is None:
            return found
        mine, its = (scopes(each) < abstention.threshold for each in rows)
        shares = {"abstained": float(mine.mean()), "abstain_agreement": float((mine == its).mean())}
        return found.model_copy(update=shares)


def read_unlabelled(config: ExportConfig, checkpoint: Checkpoint, tokenizer: Tokenizer) -> Unlabelled | None:
    """Read the files of `--texts`, and run PyTorch on them; None where there are none.

    Texts are read as the trainer reads unlabelled files, each distinct one once, and tokenized as the server does.

    Raises:
        UserError: a file is faulty, the model reads pairs of texts, or it tags words and none of the texts has one.
    """
    if not config.texts:
        return None
    if checkpoint.training.text_pairs:
        raise UserError("--texts is for models of single texts; this one reads pairs: give more rows with --dev")
    task = checkpoint.training.task
    texts = read_distinct(config.texts, config.text_column, "--text-column", config.sheet)
    chunks = in_chunks(tokenizer.encode_batch(texts), checkpoint.training.chunks)
    logits = _decided(task, chunks, torch_each(checkpoint, _all(chunks), "PyTorch on --texts"))
    if not len(logits):
        raise UserError("--texts: the model knows no word of the texts; give others")
    if not np.isfinite(logits).all():
        raise UserError(f"{checkpoint.path}: the model's logits are not all finite numbers; train again")
    source = ", ".join(unicode_name(path) for path in config.texts)
    labels = len(checkpoint.training.labels)
    return Unlabelled(task, Split(source=source, **fingerprint(texts)), chunks, logits, labels)


def _all(chunks: list[list[Encoding]]) -> list[Encoding]:
    """Return the chunks of all texts, in order: what a graph is run on."""
    return list(chain.from_iterable(chunks))


def _decided(task: ServedTask, chunks: list[list[Encoding]], by_chunk: list[Logits]) -> Logits:
    """Return the logits that answers are made of: a row a text, or for tags a row a word, of its first token."""
    if not HEADS[task].by_token:
        return means(chunks, by_chunk)
    firsts = (_first_tokens(each) for each in _all(chunks))
    return np.concatenate([logits[places] for logits, places in zip(by_chunk, firsts, strict=True)])


def _first_tokens(encoding: Encoding) -> list[int]:
    """Return the place of the first token of each word."""
    words = [None, *encoding.word_ids]
    return [place for place, (before, word) in enumerate(pairwise(words)) if word is not None and word != before]
