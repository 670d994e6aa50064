"""Collect the evidence that a report shows beside the manifest."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bertwire_data.pages.figures import Floats, PerLabel
from bertwire_export.prove import Proven
from bertwire_export.reference import Reference
from bertwire_export.tasks import TASK_EXPORTS
from bertwire_export.vectors import VectorReference
from bertwire_runtime.bundle import Bundle, Manifest
from bertwire_runtime.bundle.saturation import IntegerProducts, bundle_products
from bertwire_runtime.rules import Rule


@dataclass(frozen=True, slots=True)
class Evidence:
    """The measurements that a report shows beside the manifest, on dev. A part that is None or empty is left out.

    Attributes:
        lengths: tokens of each text before it is cut, special tokens included, in file order.
        confusion: int64 [labels, labels], how often the true label (row) was predicted as which (column) by the
            manifest's first variant; of tags in token_classification.
        confidence: scores before calibration, scores after it, and whether each was right (bool); each [decisions].
            single_label: the score of the predicted label of a text, right where that label is the true one.
            multi_label: the score of each label of each text, right where the text has that label.
        per_label: label, precision, recall, F1 and support, one a label, of the manifest's first variant.
        scatter: regression: the true numbers and those that the manifest's first variant predicts, each [texts].
        products: the integer products of the int8 variants, by their names.
        rules: the bundle's rules.
        most: tokens of the longest text that is not cut, special tokens included.
        computed: tokens of each text that a graph runs, of texts in chunks of each chunk, in file order.
    """

    lengths: list[int]
    confusion: NDArray[np.int64] | None = None
    confidence: tuple[Floats, Floats, NDArray[np.bool_]] | None = None
    per_label: PerLabel | None = None
    scatter: tuple[Floats, Floats] | None = None
    products: dict[str, IntegerProducts] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    most: int = 0
    computed: list[int] = field(default_factory=list)


def collect_evidence(
    bundle: Bundle,
    tokenizer: Tokenizer,
    reference: Reference,
    proven: Sequence[Proven],
    rules: tuple[Rule, ...] = (),
) -> Evidence:
    """Return the decisions of the first variant on dev, the lengths of the texts, and the int8 graphs' products."""
    manifest, examples, products = bundle.manifest, reference.dev.examples, bundle_products(bundle)
    logits = next(each.logits for each in proven if each.built.name == manifest.variants[0].name)
    task, calibration = TASK_EXPORTS[manifest.task], manifest.calibration
    figures = task.figures(logits, examples.targets, manifest.labels, calibration.thresholds)
    before, after = (task.confidence(*examples.read_rows(logits), each) for each in (1.0, calibration.temperature))
    return Evidence(
        _whole_lengths(tokenizer, examples.labelled.inputs, by_word=examples.labelled.by_word),
        figures.confusion,
        None if before is None or after is None else (before[0], after[0], before[1]),
        figures.per_label,
        figures.scatter,
        products,
        rules,
        _most(manifest, tokenizer),
        [len(each.ids) for each in examples.encodings],
    )


def vector_evidence(bundle: Bundle, tokenizer: Tokenizer, reference: VectorReference) -> Evidence:
    """Return the lengths of the texts and the int8 graphs' products."""
    return Evidence(
        _whole_lengths(tokenizer, reference.texts, by_word=False),
        products=bundle_products(bundle),
        most=_most(bundle.manifest, tokenizer),
        computed=[len(each.ids) for each in reference.encodings],
    )


def _most(manifest: Manifest, tokenizer: Tokenizer) -> int:
    """Return the tokens of the longest text that is not cut; each further chunk has special tokens and an overlap."""
    special = tokenizer.num_special_tokens_to_add(manifest.text_pairs)
    return manifest.max_length + (manifest.chunks - 1) * (manifest.max_length - special - manifest.chunk_overlap)


def _whole_lengths(tokenizer: Tokenizer, inputs: Sequence[Any], *, by_word: bool) -> list[int]:
    """Return the tokens of each text before it is cut."""
    whole = Tokenizer.from_str(tokenizer.to_str())
    whole.no_truncation()
    encodings = whole.encode_batch_fast(list(inputs), is_pretokenized=by_word)
    return [len(each.ids) for each in encodings]
