"""Errors that a person is meant to read."""


def first_line(error: BaseException) -> str:
    """Return the first non-blank line of an error's message, or the name of its class where it has none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


class UserError(Exception):
    """One line that says what is wrong and what to do; a command prints it without a stack trace and exits 1.

    Attributes:
        hint: what a command adds to the message, for whoever typed it.
    """

    hint = ""
