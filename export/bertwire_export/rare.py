"""Compare graphs with PyTorch on tokens that labelled rows may lack: unknown, padding, mask and other special ones.

A graph can be right on all rows and wrong where such a token stands, for example in the positions behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding

from bertwire_export.checkpoint import Checkpoint
from bertwire_export.examples import Logits
from bertwire_export.torch_run import torch_by_text
from bertwire_runtime.layouts import Tokens
from bertwire_runtime.runner import Runner

_SEED = 2
# Texts; with half as many a special token is drawn half as often.
_TEXTS = 32
# Share of the words' tokens that is replaced. With half of it more short texts have none replaced.
_SHARE = 0.25


@dataclass(frozen=True)
class _Text:
    ids: list[int]
    type_ids: list[int]


@dataclass(frozen=True)
class Rare:
    """Texts with rare tokens, and PyTorch's logits for each of them alone.

    Attributes:
        texts: the texts.
        logits: float32 [labels] of each, or [tokens, labels].
    """

    texts: Sequence[Tokens]
    logits: Sequence[Logits]

    def difference(self, runner: Runner) -> float:
        """Return the largest absolute difference of a graph's logits from PyTorch's."""
        found = runner.by_text(self.texts)
        return max(float(np.abs(one - other).max()) for one, other in zip(found, self.logits, strict=True))


def rare_texts(checkpoint: Checkpoint, encodings: Sequence[Encoding]) -> Rare:
    """Replace words of texts by rare tokens, by a fixed seed, and run PyTorch on the results."""
    generator = np.random.default_rng(_SEED)
    places = np.linspace(0, len(encodings) - 1, min(_TEXTS, len(encodings))).astype(int)
    tokens = sorted({checkpoint.pad_token_id, *checkpoint.tokenizer.all_special_ids})
    known = [each for each in tokens if each < checkpoint.model.config.vocab_size]
    texts = [_with_rare(encodings[place], known, generator) for place in places]
    return Rare(texts, [logits for text in texts for logits in torch_by_text(checkpoint, [text])])


def _with_rare(encoding: Encoding, tokens: list[int], generator: np.random.Generator) -> _Text:
    words = ~np.array(encoding.special_tokens_mask, bool)
    replaced = words & (generator.random(len(words)) < _SHARE)
    ids = np.where(replaced, generator.choice(tokens, len(words)), encoding.ids)
    return _Text(ids.tolist(), list(encoding.type_ids))
