"""The words of a text that token classification labels, and where they stand in it."""

import re

# Letters and digits together, other characters alone: as BERT's pre-tokenizer, by which the server finds words.
_WORD = re.compile(r"\w+|[^\w\s]")


def split(text: str) -> list[str]:
    """Return the words of a text."""
    return _WORD.findall(text)


def places(text: str, words: list[str]) -> list[tuple[int, int]] | None:
    """Return start and end of each word in `text`, in code points; None where they are not its words in order."""
    found, end = [], 0
    for word in words:
        start = text.find(word, end)
        if start < 0:
            return None
        end = start + len(word)
        found.append((start, end))
    return found


def squeezed(text: str) -> str:
    """Return what two spellings of one text have in common: its characters without white space and case."""
    return "".join(text.split()).casefold()
