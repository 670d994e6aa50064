"""The one question of a project that is read."""

from typing import TypeVar

from bertwire_core.errors import UserError

T = TypeVar("T")


def only(given: dict[str, list[T]], question: str | None, kind: str) -> list[T]:
    """Return what was given to `question`, or to the only one; raise `UserError` where there are several."""
    if question is not None:
        return given.get(question, [])
    if len(given) > 1:
        raise UserError(f"answers of several {kind}s: {', '.join(map(repr, given))}; choose one with --question")
    return next(iter(given.values()), [])
