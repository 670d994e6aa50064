"""The base of every error that a person is meant to read."""


class UserError(Exception):
    """One line that says what is wrong and what to do; a command prints it without a stack trace and exits 1."""
