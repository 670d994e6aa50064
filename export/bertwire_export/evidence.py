"""Gathers what the report plots beside the manifest."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from tokenizers import Tokenizer

from bertwire_data.labelled import present
from bertwire_export.calibration import confidence
from bertwire_export.examples import Examples, Logits
from bertwire_export.prove import Proven
from bertwire_export.report import Evidence
from bertwire_export.truth import Truth
from bertwire_runtime.bundle import Bundle, Manifest
from bertwire_runtime.bundle.saturation import bundle_products


def gather(bundle: Bundle, tokenizer: Tokenizer, truth: Truth, proven: Sequence[Proven]) -> Evidence:
    """What the first variant decided on dev, how long the texts are, and what int8 computes on other processors."""
    manifest, examples = bundle.manifest, truth.dev.examples
    task, products = manifest.task, bundle_products(bundle)
    logits = next(each.logits for each in proven if each.built.name == manifest.variants[0].name)
    lengths = _whole_lengths(tokenizer, examples)
    if task == "regression":
        targets = np.asarray(examples.targets, np.float64)
        return Evidence(lengths, scatter=(targets, logits.reshape(-1)), products=products)
    before, right = confidence(task, examples, logits, 1.0)
    after, _ = confidence(task, examples, logits, manifest.calibration.temperature)
    targets, decided = _decisions(manifest, examples, logits)
    numbers = list(range(len(manifest.labels)))
    figures = precision_recall_fscore_support(targets, decided, labels=numbers, zero_division=0)
    return Evidence(
        lengths,
        confusion=None if task == "multi_label" else confusion_matrix(targets, decided, labels=numbers),
        confidence=(before, after, right),
        per_label=[
            (label, float(precision), float(recall), float(f1), int(support))
            for label, precision, recall, f1, support in zip(manifest.labels, *figures, strict=True)
        ],
        products=products,
    )


def _decisions(manifest: Manifest, examples: Examples, logits: Logits) -> tuple[np.ndarray, np.ndarray]:
    if manifest.task != "multi_label":
        return np.asarray(examples.targets), logits.argmax(axis=1)
    return np.asarray(examples.targets) > 0, present(logits, manifest.calibration.thresholds)


def _whole_lengths(tokenizer: Tokenizer, examples: Examples) -> list[int]:
    """Tokens of each text before it is cut."""
    whole = Tokenizer.from_str(tokenizer.to_str())
    whole.no_truncation()
    by_word = examples.first_pieces is not None
    encodings = whole.encode_batch_fast(list(examples.labelled.inputs), is_pretokenized=by_word)
    return [len(each.ids) for each in encodings]
