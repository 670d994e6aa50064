"""Locale and standard streams that cannot fail a run."""

import errno
import io
import os
import stat
import sys
from typing import TextIO


class _Lasting(io.FileIO):
    """A descriptor whose writes are dropped after the first failure, which is in `failure`."""

    failure: OSError | None = None

    def write(self, data: "bytes | bytearray | memoryview", /) -> int | None:  # type: ignore[override]  # any buffer
        if self.failure is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes


def use_utf8() -> None:
    """Restart the interpreter in UTF-8 mode where the locale has another encoding; call it first.

    Files, file names and arguments are then UTF-8, as in every Python from 3.15 on (PEP 686). C++ and Rust libraries
    expect UTF-8 paths in any locale.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the same command line


def open_streams() -> None:
    """Replace the standard streams; call it once, before anything is written or opened.

    Closed descriptors (`>&-`) become /dev/null, so that no later file takes their number. Characters that the
    terminal's encoding lacks are escaped. After a pipe's reader has gone, output is dropped.
    """
    for descriptor in range(3):
        _occupy(descriptor)
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - as long as the process lives
    sys.stdout, sys.stderr = _lasting(1, sys.stdout), _lasting(2, sys.stderr)


def require_written() -> None:
    """Flush standard output; raise `OSError` where a file did not receive all of it.

    A closed pipe or terminal is no error.
    """
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    failure = raw.failure if isinstance(raw, _Lasting) else None
    if failure is not None and not (failure.errno == errno.EPIPE or _is_lost_terminal(failure)):
        raise OSError(failure.errno, failure.strerror, "standard output")


def _is_lost_terminal(failure: OSError) -> bool:
    return failure.errno == errno.EIO and stat.S_ISCHR(os.fstat(1).st_mode)


def _occupy(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != descriptor:
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


def _lasting(descriptor: int, before: TextIO | None) -> TextIO:
    # Python sets the stream to None for a descriptor that was closed at startup.
    raw = _Lasting(descriptor, "w", closefd=False)
    encoding = "utf-8" if before is None else before.encoding
    by_line = descriptor == 2 or raw.isatty() or getattr(before, "write_through", False)
    buffered = io.BufferedWriter(raw)  # type: ignore[type-var]  # for the wider type of `write`
    return io.TextIOWrapper(buffered, encoding, "backslashreplace", line_buffering=by_line)
