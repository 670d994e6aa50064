"""What tests of export share: tokenized texts, tiny random models, and the graph that a session really runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime

from bertwire_core.pooling import Pooling
from support import LABELS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertwire_core.pooled import PooledClassifier
    from bertwire_export.pipeline import Outcome

VOCABULARY = 80
# The tiny checkpoint's padding token is 0; RoBERTa's and MPNet's own is 1. Ids from 5 on are words with all of them.
_FIRST_WORD = 5


@dataclass(frozen=True)
class Text:
    """A tokenized text."""

    ids: list[int]
    type_ids: list[int]


def random_batch(lengths: Sequence[int], seed: int = 0, words: int = VOCABULARY) -> list[Text]:
    """Texts of these numbers of tokens, ids below `words`; the second half of each is a second segment."""
    generator = np.random.default_rng(seed)
    ids = (generator.integers(_FIRST_WORD, words, length).tolist() for length in lengths)
    return [Text(each, [int(place >= len(each) - len(each) // 2) for place in range(len(each))]) for each in ids]


def tiny_model(model_type: str, *, by_token: bool = False, layers: int = 2, **settings: Any) -> PreTrainedModel:  # noqa: ANN401 - any of the configuration's
    """A random classifier of a family: hidden size 32, 4 heads, 64 tokens at most, 3 labels."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification

    sizes: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 70,
        "id2label": dict(enumerate(LABELS)),
        "initializer_range": 0.3,
    }
    if model_type == "distilbert":
        sizes |= {"hidden_dim": 64}
    if model_type in ("electra", "albert"):
        sizes |= {"embedding_size": 16}
    if model_type == "albert":
        sizes |= {"hidden_act": "gelu"}
    torch.manual_seed(1)
    config = AutoConfig.for_model(model_type, **(sizes | settings))
    auto = AutoModelForTokenClassification if by_token else AutoModelForSequenceClassification
    model: PreTrainedModel = auto.from_config(config, attn_implementation="eager")  # type: ignore[no-untyped-call]
    model.eval()
    return model


def tiny_pooled(model_type: str, pooling: Pooling, **settings: Any) -> PooledClassifier:  # noqa: ANN401
    """A random classifier as `tiny_model` gives, with a linear layer on a pooled vector as its head."""
    from bertwire_core.pooled import PooledClassifier

    model: Any = tiny_model(model_type, **settings)
    return PooledClassifier(model.base_model, pooling).eval()


def session_operators(path: Path) -> Counter[str]:
    """How many nodes of each operator the graph holds that a session on the CPU really runs."""
    options = onnxruntime.SessionOptions()
    optimized = path.with_suffix(".optimized")
    options.optimized_model_filepath = str(optimized)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(optimized).graph.node)


def put_model(model: PreTrainedModel, checkpoint: Path) -> None:
    """Puts another text classifier into a checkpoint, with what it decides of the dev texts."""
    import torch
    from transformers import AutoTokenizer

    model.save_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    path = checkpoint / "predictions" / "dev.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    types = getattr(model.config, "type_vocab_size", 0) > 1
    for row in rows:
        tokens = tokenizer(
            row["text"], truncation=True, max_length=32, return_tensors="pt", return_token_type_ids=types
        )
        with torch.inference_mode():
            row["predicted"] = LABELS[int(model(**tokens).logits.argmax())]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def export(checkpoint: Path, output: Path, **options: Any) -> Outcome:  # noqa: ANN401 - any option of the command
    """Exports with limits that random weights keep, one graph a precision, unless told otherwise."""
    from bertwire_export.config import ExportConfig
    from bertwire_export.pipeline import run

    lenient: dict[str, Any] = {"quick": True, "int8_min_agreement": 0, "int8_max_drop": 1}
    return run(ExportConfig(**(lenient | options), checkpoint=checkpoint, output=output))
