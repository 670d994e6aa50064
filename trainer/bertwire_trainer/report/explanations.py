"""Which words speak for a decision: integrated gradients (Sundararajan et al., 2017) on the token embeddings."""

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy
import torch
from captum.attr import LayerIntegratedGradients
from numpy.typing import NDArray

from bertwire_trainer.report.kinds import Case
from bertwire_trainer.report.material import Held, Material
from bertwire_trainer.report.section import Marked, Section
from bertwire_trainer.tasks import SPECS

# Decisions that are explained: wrong ones, right ones.
_WRONG, _RIGHT = 10, 5
# Points between the empty text and the text. Halved, the attributions of a word change by a tenth and more.
_STEPS = 20
# Seconds for all explanations, beyond which no further one is begun. Halved, half of long texts have one.
_SECONDS = 8.0
# Times that a forward pass takes, which a forward and a backward pass take.
_BACKWARD = 3
# Shares of the strongest word's attribution at which the colour gets stronger.
_LEVELS = (0.15, 0.4, 0.7)
_TITLE = "What decided"


def explanations(material: Material) -> list[Section]:
    """Return the section of the words that speak for and against the surest wrong and right decisions on dev."""
    if SPECS[material.job.data.task].by_word:
        return [Section(_TITLE, "None: every word has a decision of its own.")]
    cases, explain = _cases(material), _Explainer(material)
    texts, begun = [], time.perf_counter()
    for about, case in cases:
        if time.perf_counter() - begun + explain.seconds(case) > _SECONDS:
            break
        texts.append(Marked(about, explain.words(case)))
    cut = (
        f" {len(texts)} of {len(cases)} are here, since others would take too long." if len(texts) < len(cases) else ""
    )
    first = " Of a text in several chunks they are those of the first chunk alone." * (material.record["chunks"] > 1)
    remark = (
        "Integrated gradients of the predicted output: words on green with a solid line speak for what the model "
        f"predicts, words on red with a dotted line against it.{first}{cut}"
    )
    return [Section(_TITLE, remark, texts=texts, figures={"explained": len(texts)})]


def _cases(material: Material) -> list[tuple[str, Case]]:
    """Return wrong and right decisions in turn, each with a line about it, so that there are both if time is short."""
    held, kind = material.held["dev"], material.kind
    found = []
    for title, right, most in (("Wrong", False, _WRONG), ("Right", True, _RIGHT)):
        cases = islice(kind.cases(held.rows, held.logits, held.targets, material.labels, right=right), most)
        for place, each in enumerate(cases):
            said = f"row {held.rows.rows[each.place]} of dev: true {each.true}, predicted {each.decided}"
            found.append((place / most, f"{title}, {said}, {kind.score} {each.score:.4f}", each))
    return [(about, case) for _, about, case in sorted(found, key=lambda each: each[0])]


class _Explainer:
    """The attributions of one model on dev."""

    def __init__(self, material: Material) -> None:
        self._held: Held = material.held["dev"]
        self._model, self._tokenizer = material.fitted.model.eval(), material.fitted.tokenizer
        self._tokenizer.model_max_length = material.record["max_length"]
        embeddings = self._model.base_model.get_input_embeddings()
        self._attribution = LayerIntegratedGradients(self._logits, embeddings)

    def seconds(self, case: Case) -> float:
        """Return about how long an explanation takes."""
        encoded = self._encode(case)
        begun = time.perf_counter()
        with torch.inference_mode():
            self._logits(encoded["input_ids"], self._others(encoded))
        return (time.perf_counter() - begun) * _STEPS * _BACKWARD

    def words(self, case: Case) -> list[tuple[str, str]]:
        """Return the words of the text that was read, each with the class of its colour."""
        encoded = self._encode(case)
        ids = encoded["input_ids"]
        found = self._attribution.attribute(
            ids,
            baselines=self._empty(ids),
            target=case.output,
            additional_forward_args=(self._others(encoded),),
            n_steps=_STEPS,
        )
        return _colored([*self._spans(case, encoded, found.sum(dim=-1)[0].detach().cpu().numpy())])

    def _logits(self, ids: torch.Tensor, others: dict[str, torch.Tensor]) -> torch.Tensor:
        wide = {name: value.expand(len(ids), -1) for name, value in others.items()}
        logits: torch.Tensor = self._model(input_ids=ids, **wide).logits
        return logits

    def _encode(self, case: Case) -> Any:  # noqa: ANN401 - a BatchEncoding
        given = self._held.rows.inputs[case.place]
        sides = (given,) if isinstance(given, str) else given
        encoded = self._tokenizer(*sides, truncation="longest_first", return_tensors="pt", return_offsets_mapping=True)
        return encoded.to(self._model.device)

    def _others(self, encoded: Any) -> dict[str, torch.Tensor]:  # noqa: ANN401
        names = (
            ("attention_mask", "token_type_ids")
            if isinstance(self._held.rows.inputs[0], tuple)
            else ("attention_mask",)
        )
        return {name: encoded[name] for name in names if name in encoded}

    def _empty(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the ids with padding in place of all but the special tokens."""
        special = torch.tensor(
            self._tokenizer.get_special_tokens_mask(ids[0].tolist(), already_has_special_tokens=True)
        )
        return torch.where(special.bool().to(ids.device), ids, self._tokenizer.pad_token_id)

    def _spans(self, case: Case, encoded: Any, found: NDArray[numpy.floating]) -> Iterator[tuple[str, float]]:  # noqa: ANN401
        """Yield each word and the sum over its tokens; a bar parts the texts of a pair."""
        given = self._held.rows.inputs[case.place]
        sides = (given,) if isinstance(given, str) else given
        words, offsets = encoded.word_ids(0), encoded["offset_mapping"][0].tolist()
        places: dict[tuple[int, int], list[int]] = {}
        for at, (word, side) in enumerate(zip(words, encoded.sequence_ids(0), strict=True)):
            if word is not None and side is not None:
                places.setdefault((side, word), []).append(at)
        before = 0
        for (side, _), tokens in places.items():
            if side != before:
                yield "|", 0.0
            before = side
            yield sides[side][offsets[tokens[0]][0] : offsets[tokens[-1]][1]], float(found[tokens].sum())


def _colored(found: list[tuple[str, float]]) -> list[tuple[str, str]]:
    """Return the words, each with its class: `p1` to `p3` for, `n1` to `n3` against, or none."""
    strongest = max((abs(value) for _, value in found), default=0.0) or 1.0
    levels = [sum(abs(value) / strongest >= each for each in _LEVELS) for _, value in found]
    return [
        (word, f"{'p' if value > 0 else 'n'}{level}" if level else "")
        for (word, value), level in zip(found, levels, strict=True)
    ]
