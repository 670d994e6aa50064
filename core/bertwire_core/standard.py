"""What a process has from its environment, made such that it ends no run: the locale and the standard streams."""

import errno
import io
import os
import stat
import sys
from typing import TextIO


class _Lasting(io.FileIO):
    """A descriptor that is written to as long as that works; what comes after a failure is dropped.

    Attributes:
        failure: the first failure.
    """

    failure: OSError | None = None

    def write(self, data: "bytes | bytearray | memoryview", /) -> int | None:  # type: ignore[override]  # any buffer
        """Writes bytes, or drops them."""
        if self.failure is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes


def use_utf8() -> None:
    """Starts the interpreter again in UTF-8 mode where the locale has another encoding; call it before anything else.

    Files, their names and the command line are UTF-8 then, as they are for every Python from 3.15 on (PEP 686), for the
    libraries' own reading and writing too: those in C++ and Rust take a path for UTF-8 whatever the locale says.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the same command line


def open_streams() -> None:
    """Replaces the process's standard streams; call it once, before anything is written or opened.

    A descriptor that was closed (`>&-`) leads nowhere, so that no file that is opened later takes its number. What the
    encoding of the terminal lacks is written as an escape. Once the reader of a pipe is gone, the rest is dropped.
    """
    for descriptor in range(3):
        _occupy(descriptor)
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - as long as the process lives
    sys.stdout, sys.stderr = _lasting(1, sys.stdout), _lasting(2, sys.stderr)


def require_written() -> None:
    """Flushes standard output; raises `OSError` where a file that it goes to lacks a part of it.

    That nobody reads it any more, a pipe's other end or the terminal, is no error.
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
    # Python gives no stream for a descriptor that was closed when it started.
    raw = _Lasting(descriptor, "w", closefd=False)
    encoding = "utf-8" if before is None else before.encoding
    by_line = descriptor == 2 or raw.isatty() or getattr(before, "write_through", False)
    buffered = io.BufferedWriter(raw)  # type: ignore[type-var]  # for the wider type of `write`
    return io.TextIOWrapper(buffered, encoding, "backslashreplace", line_buffering=by_line)
