"""The tokenizer as the server will use it, proven to be the one that training used."""

from tokenizers import Tokenizer

from bertwire_client.errors import UserError
from bertwire_export.checkpoint import TOKENIZER, Checkpoint
from bertwire_export.measure import Arrays


def serving_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """The checkpoint's `tokenizer.json`, without padding and truncating on its own."""
    tokenizer = Tokenizer.from_file(str(checkpoint.path / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(checkpoint.training.max_length, direction=checkpoint.training.truncation_side)
    return tokenizer


def require_same_tokens(tokenizer: Tokenizer, texts: list[str], batches: list[Arrays]) -> None:
    """Raises `UserError` where the server would read other tokens than training did.

    Args:
        tokenizer: the server's.
        texts: the dev texts.
        batches: the same texts by the training's tokenizer, in order.
    """
    encodings = iter(tokenizer.encode_batch(texts))
    for batch in batches:
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
            encoding = next(encodings)
            if encoding.ids != ids[mask.astype(bool)].tolist():
                raise UserError(
                    f"{TOKENIZER} reads other tokens than training's tokenizer did, for example {encoding.tokens[:8]}; "
                    "save the tokenizer with save_pretrained and train again"
                )
