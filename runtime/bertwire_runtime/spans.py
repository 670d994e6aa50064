"""Spans of a text: its words as a reader sees them, from what a tokenizer made of it."""

from collections.abc import Iterable, Iterator, Sequence
from unicodedata import category

from tokenizers import Encoding

# Start and end in a text, in code points.
Span = tuple[int, int]
# Most tokens of a word that counts as one. Scripts without spaces make words of whole clauses, which are then taken
# token by token; halved, long English words are too.
_MOST_TOKENS = 8
# Unicode's categories of characters of which no word consists: punctuation, separators, control codes.
_NO_WORD = frozenset("PZC")


def as_seen(text: str, start: int, end: int) -> Span:
    """Return a word's bounds without leading spaces, which some tokenizers include, and with trailing combining marks,
    which some drop.
    """
    while start < end and text[start].isspace():
        start += 1
    while end < len(text) and text[end] > "\x7f" and category(text[end])[0] == "M":
        end += 1
    return start, end


def words(encoding: Encoding, texts: Sequence[str]) -> list[list[Span]]:
    """Return for each of the tokenized texts, one or a pair, the words that were not cut off, in order and apart.

    Words are the pre-tokenizer's, long ones token by token; what is all punctuation is none.
    """
    found: list[list[list[Span]]] = [[] for _ in texts]
    before = None
    for place, word, span in zip(encoding.sequence_ids, encoding.word_ids, encoding.offsets, strict=True):
        if place is not None and word is not None:
            if (place, word) != before:
                found[place].append([])
            found[place][-1].append(span)
        before = (place, word)
    return [list(_apart(text, of_words)) for text, of_words in zip(texts, found, strict=True)]


def apart(spans: Iterable[Span]) -> list[Span]:
    """Return spans in the order of the text; of those that overlap the first stays, at one place the longest."""
    found: list[Span] = []
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not found or start >= found[-1][1]:
            found.append((start, end))
    return found


def _apart(text: str, found: Sequence[list[Span]]) -> Iterator[Span]:
    last = 0
    for tokens in found:
        parts = tokens if len(tokens) > _MOST_TOKENS else [(tokens[0][0], tokens[-1][1])]
        for begin, finish in parts:
            # Tokens of bytes share the character that they are parts of.
            start, end = as_seen(text, max(begin, last), finish)
            if start < end and any(category(each)[0] not in _NO_WORD for each in text[start:end]):
                yield start, end
                last = end
