"""Errors of bundle verification."""

from bertwire_core.errors import UserError

_LONGEST = 1000


class BundleError(UserError):
    """The bundle differs from what was sealed, or is not signed by the key.

    The message is one printable line, whatever names and values the bundle holds.
    """

    def __init__(self, message: str) -> None:
        line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in message)
        super().__init__(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}...")
