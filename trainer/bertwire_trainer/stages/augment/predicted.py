"""Copies of texts with words that a masked-language-modelling head predicts in their place."""

from random import Random
from typing import TYPE_CHECKING, Any

from bertwire_core.console import tracked
from bertwire_trainer.stages.augment.words import chosen, split

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Texts of one forward pass; halved, nothing breaks.
_BATCH = 64
# Most likely tokens among which a word is drawn by their probability. Halved, copies differ less from each other.
_LIKELY = 20


def predict_words(
    texts: list[str], model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", share: float, random: Random
) -> list[str]:
    """Return the texts with some words masked all at once and drawn anew; show a bar.

    Words beyond the tokenizer's `model_max_length`, and those for which no other word is likely, stay.
    """
    import torch

    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()  # type: ignore[arg-type]
    result = []
    batches = [texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
    for batch in tracked(batches, "augment", len(batches)):
        pieces, places = zip(*(_chosen(text, tokenizer, share, random) for text in batch), strict=True)
        masked = [_masked(each, asked, tokenizer) for each, asked in zip(pieces, places, strict=True)]
        encoded = tokenizer(masked, truncation=True, padding=True, return_tensors="pt", return_token_type_ids=False)
        encoded = encoded.to(model.device)
        with torch.inference_mode():
            likely = model(**encoded).logits.float().softmax(-1).topk(min(_LIKELY, len(tokenizer)))
        for row, (each, asked) in enumerate(zip(pieces, places, strict=True)):
            found = (encoded["input_ids"][row] == tokenizer.mask_token_id).nonzero().flatten().tolist()
            # The masks that were cut off are those at the side that is cut.
            read = asked[: len(found)] if tokenizer.truncation_side == "right" else asked[len(asked) - len(found) :]
            for token, place in zip(found, read, strict=True):
                each[place] = _drawn(each[place], likely, (row, token), tokenizer, random)
            result.append("".join(each))
    return result


def _chosen(
    text: str, tokenizer: "PreTrainedTokenizerBase", share: float, random: Random
) -> tuple[list[str], list[int]]:
    pieces, places = split(text)
    # A text that holds the mask token itself would have masks of no word.
    return pieces, [] if str(tokenizer.mask_token) in text else chosen(places, share, len(places), random)


def _masked(pieces: list[str], places: list[int], tokenizer: "PreTrainedTokenizerBase") -> str:
    return "".join(str(tokenizer.mask_token) if place in places else piece for place, piece in enumerate(pieces))


def _drawn(word: str, likely: Any, at: tuple[int, int], tokenizer: "PreTrainedTokenizerBase", random: Random) -> str:  # noqa: ANN401 - torch's named tuple
    tokens: torch.Tensor = likely.indices[at]
    words = [str(tokenizer.decode([token])).strip() for token in tokens.tolist()]
    # Continuations of words, such as ##ing, and signs are no words.
    weighed = {
        each: weight
        for each, weight in zip(words, likely.values[at].tolist(), strict=True)
        if each.isalnum() and each.lower() != word.lower()
    }
    return random.choices([*weighed], [*weighed.values()])[0] if weighed else word
