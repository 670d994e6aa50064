"""Texts with tokens that labelled rows may never have: unknown, padding, mask and every other special one.

A graph can be right on all rows and wrong where such a token stands, for example in the positions behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Encoding

from bertwire_export.checkpoint import Checkpoint
from bertwire_export.examples import Logits
from bertwire_runtime.layouts import Layout, Tokens, arrange
from bertwire_runtime.runner import Runner

_SEED = 2
_TEXTS = 32
# Of the words' tokens so many are replaced.
_SHARE = 0.25


@dataclass(frozen=True)
class _Text:
    ids: list[int]
    type_ids: list[int]


@dataclass(frozen=True)
class Rare:
    """Such texts, with PyTorch's logits for each alone.

    Attributes:
        texts: the texts.
        logits: float32 [labels] of each, or [tokens, labels].
    """

    texts: Sequence[Tokens]
    logits: Sequence[Logits]

    def difference(self, runner: Runner) -> float:
        """The most that a logit of a graph is off."""
        found = runner.by_text(self.texts)
        return max(float(np.abs(one - other).max()) for one, other in zip(found, self.logits, strict=True))


def rare_texts(checkpoint: Checkpoint, encodings: Sequence[Encoding]) -> Rare:
    """Puts rare tokens into texts, by a fixed seed, and runs PyTorch on them."""
    generator = np.random.default_rng(_SEED)
    places = np.linspace(0, len(encodings) - 1, min(_TEXTS, len(encodings))).astype(int)
    tokens = sorted({checkpoint.pad_token_id, *checkpoint.tokenizer.all_special_ids})
    known = [each for each in tokens if each < checkpoint.model.config.vocab_size]
    texts = [_with_rare(encodings[place], known, generator) for place in places]
    by_token = checkpoint.training.task == "token_classification"
    layout = Layout("padded", 0, checkpoint.pad_token_id, by_token)
    logits = []
    with torch.inference_mode():
        for text in texts:
            arrays = arrange([text], layout)
            if not checkpoint.reads_types:
                del arrays["token_type_ids"]
            tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
            logits += layout.by_text(checkpoint.model(**tensors).logits.float().numpy(), [len(text.ids)])
    return Rare(texts, logits)


def _with_rare(encoding: Encoding, tokens: list[int], generator: np.random.Generator) -> _Text:
    words = ~np.array(encoding.special_tokens_mask, bool)
    replaced = words & (generator.random(len(words)) < _SHARE)
    ids = np.where(replaced, generator.choice(tokens, len(words)), encoding.ids)
    return _Text(ids.tolist(), list(encoding.type_ids))
