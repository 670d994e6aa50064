"""Copies of texts that a command of the user's makes, such as a back-translation.

It runs without a shell and in a process of its own, so that nothing of it is imported here.
"""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

from bertwire_core.errors import UserError

_OPTION = "--augment-command"


def split_command(command: str) -> list[str]:
    """Return the program and its arguments, as a shell splits them; raise `UserError` where there is no program."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UserError(f"{_OPTION}: {error}: {command}") from error
    if not words or shutil.which(words[0]) is None:
        raise UserError(f"{_OPTION}: there is no program {words[0] if words else ''!r}")
    return words


def shown(words: list[str]) -> str:
    """Return a command for records, with the names of files in place of absolute paths."""
    return shlex.join(Path(word).name if Path(word).is_absolute() else word for word in words)


def run_command(words: list[str], texts: list[str]) -> list[str]:
    """Return what the command makes of the texts; its standard error is this process's.

    Raises:
        UserError: the command fails, or does not write one text that is not blank for each, a JSON string on a line.
    """
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    try:
        done = subprocess.run(words, input=lines.encode(), stdout=subprocess.PIPE, check=False)
    except OSError as error:
        raise UserError(f"{_OPTION}: {words[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise UserError(f"{_OPTION}: {words[0]} failed with status {done.returncode}")
    written = done.stdout.splitlines()
    if len(written) != len(texts):
        raise UserError(
            f"{_OPTION}: {words[0]} wrote {len(written)} lines for {len(texts)} texts; it must write one each"
        )
    return [_text(line, number) for number, line in enumerate(written, 1)]


def _text(line: bytes, number: int) -> str:
    try:
        value = json.loads(line)
        if isinstance(value, str) and value.strip() and value.encode():
            return value
    except (ValueError, RecursionError):
        pass
    raise UserError(f"{_OPTION}: line {number} of what it wrote is no JSON string that is not blank")
