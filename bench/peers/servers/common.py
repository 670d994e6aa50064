"""The model of every other server: texts to labels by ONNX Runtime on one thread; imports nothing of bertwire.

Settings come in the environment: PEER_MODEL, PEER_TOKENIZER (tokenizer.json), PEER_LABELS (JSON), and PEER_FOURS=1 for
batches that are sorted by length and run in fours, which pads less.
"""

import json
import os
from collections.abc import Sequence

import numpy as np
import onnxruntime
from tokenizers import Encoding, Tokenizer

MAX_BATCH = 32
_FOUR = 4
Answer = tuple[str, float]


class Model:
    """A tokenizer and a session."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["PEER_MODEL"], options, ["CPUExecutionProvider"])
        self._names = [each.name for each in self._session.get_inputs()]
        self._tokenizer = Tokenizer.from_file(os.environ["PEER_TOKENIZER"])
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(int(os.environ["PEER_MAX_LENGTH"]))
        self._labels: list[str] = json.loads(os.environ["PEER_LABELS"])
        self._size = _FOUR if os.environ.get("PEER_FOURS") == "1" else MAX_BATCH

    def classify(self, texts: Sequence[str]) -> list[Answer]:
        """Return the label of each text and its probability."""
        encoded = self._tokenizer.encode_batch(list(texts))
        order = list(range(len(texts)))
        if self._size == _FOUR:
            order.sort(key=lambda place: len(encoded[place].ids))
        answers: list[Answer] = [("", 0.0)] * len(texts)
        for first in range(0, len(order), self._size):
            places = order[first : first + self._size]
            for place, answer in zip(places, self._run([encoded[place] for place in places]), strict=True):
                answers[place] = answer
        return answers

    def _run(self, encoded: Sequence[Encoding]) -> list[Answer]:
        shape = len(encoded), max(len(each.ids) for each in encoded)
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, each in enumerate(encoded):
            ids[row, : len(each.ids)], mask[row, : len(each.ids)] = each.ids, 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros(shape, np.int64)}
        logits = self._session.run(["logits"], {name: given[name] for name in self._names})[0]
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        shares = powers / powers.sum(-1, keepdims=True)
        best = logits.argmax(-1)
        return [(self._labels[label], float(share[label])) for label, share in zip(best, shares, strict=True)]
