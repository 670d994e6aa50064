"""What of the rows the model will not see: texts that are cut, and words that its vocabulary lacks."""

from bertwire_trainer.tokens import TokenDataset

# Share of tokens from which the checkpoint is likely of another language. With half as many texts with names and emoji
# warn, with twice as many a vocabulary that reads every second character does not.
_MOST_UNKNOWN = 0.1


def uncovered(train: TokenDataset, max_length: int, model: str) -> list[str]:
    """Return what of train the model will not see, one line each, where there is something."""
    found = []
    texts = train.texts
    if train.cut:
        found.append(
            f"{train.cut} of {texts} texts of train ({train.cut / texts:.1%}) have more than "
            f"{train.chunks.reads(max_length)} and are cut; a higher --max-length or --chunks reads more of them"
        )
    if train.unknown > _MOST_UNKNOWN:
        found.append(
            f"{train.unknown:.1%} of the tokens of train are unknown to the vocabulary of --model {model}, which reads "
            "them all as the same word; choose a checkpoint of the language of the texts"
        )
    return found
