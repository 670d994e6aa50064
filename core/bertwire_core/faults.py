"""Exit status and one-line message of every error."""

import os
import sys
import traceback

from bertwire_core.errors import UserError

FAILED = 1
INTERNAL = 70
INTERRUPTED = 130

CLI = "'.[cli]'"
# Packages of the table formats, with their extras, which not every command's own extra brings.
_TABLES = {"pyarrow": "'.[parquet]'", "openpyxl": "'.[xlsx]'", "zstandard": "'.[zstd]'"}


def report(error: Exception, command: str, install: str) -> int:
    """Print an error to standard error and return the exit status: 1, or 70 for an internal error.

    Args:
        error: the error.
        command: name of the command; may be empty.
        install: the command's pip requirement.
    """
    if (line := _line(error, command, install)) is not None:
        _print(line)
        return FAILED
    if os.environ.get("BERTWIRE_DEBUG") == "1":
        traceback.print_exception(error)
    _print(f"internal error: {type(error).__name__}: {error}; run with BERTWIRE_DEBUG=1 for the traceback")
    return INTERNAL


def _line(error: Exception, command: str, install: str) -> str | None:
    if isinstance(error, UserError):
        return f"error: {error}{error.hint}"
    if isinstance(error, ModuleNotFoundError):
        return _missing(error.name or "", command, install)
    if isinstance(error, OSError) and error.strerror:
        # Such as "No space left on device" or "Permission denied".
        where = f": {error.filename}" if error.filename is not None else ""
        return f"error: {error.strerror[:1].lower()}{error.strerror[1:]}{where}"
    return None


def _missing(module: str, command: str, install: str) -> str | None:
    package = module.partition(".")[0]
    if package.startswith("bertwire"):
        return None
    install = _TABLES.get(package, install)
    if install == CLI and package == "cryptography":
        install = "'.[sign]'"
    needs = f"{f'bertwire {command}'.strip()} needs {package}"
    return f"{needs}: pip install {install} in the folder of bertwire's source"


def _print(line: str) -> None:
    print("bertwire:", " ".join(line.split()), file=sys.stderr)
