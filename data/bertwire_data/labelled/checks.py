"""What is odd about labelled rows and does not keep a model from training on them."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable

from bertwire_core.tags import OUTSIDE
from bertwire_data.labelled.rows import Labelled

# Most examples that a line names. With half as many a pattern is harder to see, with many more it is no line.
_SHOWN = 5


def oddities(rows: Labelled, split: str) -> list[str]:
    """Return what is odd about the rows of a split, one line each, where there is something.

    Labels that differ by case or space alone, other labels with a single example, rows that repeat an earlier one,
    texts that are labelled in more than one way.
    """
    counts = Counter(rows.names())
    alike = _alike(counts)
    told = {name for group in alike for name in group}
    others = Counter({name: count for name, count in counts.items() if name not in told})
    checks = (_alike_line(alike, counts, split), _single(others, rows, split), *_repeated(rows, split))
    return [each for each in checks if each]


def plain(label: str) -> str:
    """Return a label as those that differ from it by case, space or form of characters alone are all returned."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def frozen(value: object, *, ordered: bool = True) -> Hashable:
    """Return an input or a target as something that can be compared and hashed."""
    if isinstance(value, list):
        return tuple(value) if ordered else frozenset(value)
    assert isinstance(value, Hashable)  # noqa: S101 - texts, pairs of them and numbers are
    return value


def _alike(names: Iterable[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[plain(name)].append(name)
    return [sorted(group) for group in groups.values() if len(group) > 1]


def _alike_line(groups: list[list[str]], counts: Counter[str], split: str) -> str | None:
    if not groups:
        return None
    found = [" and ".join(f"{name!r} ({_examples(counts[name])})" for name in names) for names in groups]
    return (
        f"labels of {split} that differ by case or space alone are learned as different ones: {_some(found)}; "
        "spell them alike if they mean the same"
    )


def _examples(count: int) -> str:
    return "1 example, too few to learn" if count == 1 else f"{count} examples"


def _single(counts: Counter[str], rows: Labelled, split: str) -> str | None:
    # Of tags those that begin an entity are the classes.
    names = [name for name, count in counts.items() if count == 1 and not (rows.by_word and _inside(name))]
    if not names:
        return None
    return f"labels with a single example in {split}, too few to learn: {_some(map(repr, sorted(names)))}"


def _inside(tag: str) -> bool:
    return tag == OUTSIDE or tag.startswith("I-")


def _repeated(rows: Labelled, split: str) -> tuple[str | None, str | None]:
    first: dict[Hashable, tuple[int, Hashable]] = {}
    torn: dict[Hashable, tuple[int, int]] = {}
    same = 0
    for number, each, target in zip(rows.rows, rows.inputs, rows.targets, strict=True):
        # The labels of a text have no order of their own; the tags of its words have.
        text, label = frozen(each), frozen(target, ordered=rows.by_word)
        before, known = first.setdefault(text, (number, label))
        if known != label:
            torn.setdefault(text, (before, number))
        elif before != number:
            same += 1
    repeats = f"{same} row{'s' * (same > 1)} of {split} repeat{'s' * (same == 1)} the text and label of an earlier row"
    pairs = _some(f"{one} and {other}" for one, other in torn.values())
    ways = f"{_texts(len(torn))} labelled in more than one way in {split}: rows {pairs}"
    return repeats if same else None, ways if torn else None


def _texts(count: int) -> str:
    return f"{count} distinct text{'s are' if count > 1 else ' is'}"


def _some(parts: Iterable[str]) -> str:
    listed = list(parts)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return f"{', '.join(listed[:_SHOWN])}{more}"
