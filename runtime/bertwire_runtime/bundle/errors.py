"""What is raised of a bundle that is not what was sealed."""

from bertwire_core.errors import UserError

_LONGEST = 1000


class BundleError(UserError):
    """The bundle is not what was sealed, or not signed by the key; the message says what differs.

    The message is one printable line, whatever a bundle's names and values hold.
    """

    def __init__(self, message: str) -> None:
        line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in message)
        super().__init__(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}...")
