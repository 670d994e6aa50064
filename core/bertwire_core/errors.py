"""Errors with a message for the user."""


def first_line(error: BaseException) -> str:
    """Return the first non-blank line of an error's message, or its class name where there is none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


class UserError(Exception):
    """An error that a command prints as one line, what is wrong and what to do, before it exits with 1.

    Attributes:
        hint: appended to the message by commands.
    """

    hint = ""
