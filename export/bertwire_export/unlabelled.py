"""Texts without labels, on which graphs are compared with PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding, Tokenizer

from bertwire_core.errors import UserError
from bertwire_core.files import unicode_name
from bertwire_core.tasks import ServedTask
from bertwire_data.texts import fingerprint, read_distinct
from bertwire_export.checkpoint import Checkpoint
from bertwire_export.config import ExportConfig
from bertwire_export.examples import Logits
from bertwire_export.measure import onnx_each, torch_each
from bertwire_export.tasks import TASK_EXPORTS
from bertwire_runtime.bundle import Agreement, Split
from bertwire_runtime.heads import HEADS
from bertwire_runtime.runner import Runner


@dataclass(frozen=True)
class Unlabelled:
    """Texts without labels, with PyTorch's logits for them.

    Attributes:
        task: the task of the model.
        split: the manifest's entry for them.
        encodings: the tokens of each text.
        logits: float32 [texts, labels], or [tokens of all texts, labels].
    """

    task: ServedTask
    split: Split
    encodings: list[Encoding]
    logits: Logits

    def agreement(self, runner: Runner, title: str, thresholds: Sequence[float] | None) -> Agreement:
        """Compare a graph with PyTorch; raise `UserError` where a logit is not finite."""
        logits = _joined(onnx_each(runner, self.encodings, title))
        if not np.isfinite(logits).all():
            raise UserError(f"{title}: the logits are not all finite numbers; leave its precision out with --variants")
        ours, theirs = (TASK_EXPORTS[self.task].decide(each, thresholds) for each in (logits, self.logits))
        same = None if ours is None or theirs is None else ours == theirs
        return Agreement(
            decisions=0 if same is None else same.size,
            label_agreement=None if same is None else float(same.mean()),
            max_logit_difference=float(np.abs(logits - self.logits).max()),
        )


def read_unlabelled(config: ExportConfig, checkpoint: Checkpoint, tokenizer: Tokenizer) -> Unlabelled | None:
    """Read the files of `--texts`, and run PyTorch on them; None where there are none.

    Texts are read as the trainer reads unlabelled files, each distinct one once; for tags their words are what stands
    between white space.

    Raises:
        UserError: a file is faulty, or the model reads pairs of texts.
    """
    if not config.texts:
        return None
    if checkpoint.training.text_pairs:
        raise UserError("--texts is for models of single texts; this one reads pairs: give more rows with --dev")
    task = checkpoint.training.task
    texts = read_distinct(config.texts, config.text_column, "--text-column", config.sheet)
    by_token = HEADS[task].by_token
    given = [text.split() for text in texts] if by_token else texts
    encodings = tokenizer.encode_batch(given, is_pretokenized=by_token)
    logits = _joined(torch_each(checkpoint, encodings, "PyTorch on --texts"))
    if not np.isfinite(logits).all():
        raise UserError(f"{checkpoint.path}: the model's logits are not all finite numbers; train again")
    source = ", ".join(unicode_name(path) for path in config.texts)
    return Unlabelled(task, Split(source=source, **fingerprint(texts)), encodings, logits)


def _joined(by_text: list[Logits]) -> Logits:
    """Return the logits of all texts: of one row a text, or of one row a token."""
    return np.stack(by_text) if by_text[0].ndim == 1 else np.concatenate(by_text)
