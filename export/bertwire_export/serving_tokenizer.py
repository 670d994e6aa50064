"""Load the tokenizer as the server will use it, and prove that it is the one that training used."""

from collections.abc import Sequence
from typing import Any

from tokenizers import Encoding, Tokenizer

from bertwire_core.errors import UserError
from bertwire_export.checkpoint import TOKENIZER, Checkpoint


def serving_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """Load the checkpoint's `tokenizer.json` without padding, truncating as training did.

    Raises:
        UserError: it adds no special tokens, so that a text of nothing it knows would have no token to classify.
    """
    tokenizer = Tokenizer.from_file(str(checkpoint.path / TOKENIZER))
    if not tokenizer.encode("").ids:
        raise UserError(
            f"{TOKENIZER} adds no special tokens; BERT classifies the first of them, so train with one that does"
        )
    tokenizer.no_padding()
    training = checkpoint.training
    tokenizer.enable_truncation(training.max_length, stride=training.chunk_overlap, direction=training.truncation_side)
    return tokenizer


def require_same_tokens(checkpoint: Checkpoint, inputs: Sequence[Any], encodings: list[Encoding]) -> None:
    """Raise `UserError` where the server would read other tokens or segments than training did.

    Args:
        checkpoint: the model, with training's tokenizer.
        inputs: texts, pairs of texts, or the words of each text.
        encodings: the same, of long ones the first chunk, by the server's tokenizer.
    """
    tokenizer, training = checkpoint.tokenizer, checkpoint.training
    tokenizer.truncation_side = training.truncation_side
    columns = list(zip(*inputs, strict=True)) if isinstance(inputs[0], tuple) else [inputs]
    expected = tokenizer(
        *map(list, columns),
        truncation=True,
        max_length=training.max_length,
        is_split_into_words=isinstance(inputs[0], list),
        return_token_type_ids=checkpoint.reads_types,
    )
    for index, encoding in enumerate(encodings):
        same = encoding.ids == expected["input_ids"][index]
        if not same or (checkpoint.reads_types and encoding.type_ids != expected["token_type_ids"][index]):
            raise UserError(
                f"{TOKENIZER} reads other tokens than training's tokenizer did, for example {encoding.tokens[:8]}; "
                "save the tokenizer with save_pretrained and train again"
            )
