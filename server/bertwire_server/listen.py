"""Listening addresses: TCP ports and Unix sockets."""

import errno
import ipaddress
import os
import socket
import stat
from pathlib import Path

import grpc
import grpc.aio

from bertwire_core.errors import UserError

_UNIX = "unix:"
# Longest socket path on Linux in bytes, without the final NUL (unix(7)).
_MAX_PATH_BYTES = 107
# Seconds; a live server accepts at once, and one with a full backlog times out.
_CONNECT_SECONDS = 1.0


def is_unix(host: str) -> bool:
    """Whether `host` is a Unix socket."""
    return host.startswith(_UNIX)


def read_host(text: str) -> str:
    """Parse a host: a name, IPv4, IPv6 with or without brackets, or gRPC's `unix:PATH`.

    Returns:
        a name, an IP address without brackets, or `unix:` and an absolute path.

    Raises:
        ValueError: it is none of these.
    """
    if is_unix(text):
        if not (path := text.removeprefix(_UNIX)):
            raise ValueError("has no path; give unix:PATH")
        # Also unix:///PATH, gRPC's other form.
        return _UNIX + str(Path(path.replace("///", "/", 1) if path.startswith("///") else path).absolute())
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f"{text!r} is no host; give a name, an IP address, or unix:PATH") from None
    return host


def address(host: str, port: int) -> str:
    """Return the address in gRPC's notation."""
    if is_unix(host):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check(host: str, port: int) -> None:
    """Raise `UserError` with the cause where the port or path is not available now."""
    try:
        # Tried with a socket of our own, since gRPC does not report the cause.
        if is_unix(host):
            _try_path(Path(host.removeprefix(_UNIX)))
        else:
            socket.create_server((host, port), family=_family(host)).close()
    except OSError as error:
        # socket appends the address to the cause.
        raise _refused(host, port, str(error.strerror or error).partition(" (while")[0]) from error


def hold(host: str, port: int) -> socket.socket:
    """Return a bound socket that keeps a port for the servers of this user that share it by SO_REUSEPORT.

    It does not listen. Others are refused the port, as by a server that listens.

    Args:
        host: a name or an IP address.
        port: 0 takes a free one.

    Raises:
        UserError: the port is not available; with the cause.
    """
    check(host, port)
    held = socket.socket(_family(host))
    try:
        # Needed only to bind, after a server whose last connections have not timed out. Left on, others could bind too.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, port))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        held.close()
        raise _refused(host, port, str(error.strerror or error)) from error
    return held


def bind(
    server: grpc.aio.Server,
    host: str,
    port: int,
    credentials: grpc.ServerCredentials | None,
    *,
    shared: bool = False,
) -> int:
    """Listen and return the port number, the chosen one where `port` is 0.

    A dead server's socket file is replaced. gRPC removes its own when it stops.

    Args:
        server: not started yet, with grpc.so_reuseport where the port is shared.
        host: where to listen.
        port: 0 takes a free one.
        credentials: None: in the clear.
        shared: whether `hold` keeps the port for this server and others.

    Raises:
        UserError: the port or path is not available; with the cause.
    """
    if not shared:
        check(host, port)
    where = address(host, port)
    try:
        return server.add_secure_port(where, credentials) if credentials else server.add_insecure_port(where)
    except RuntimeError:
        raise _refused(host, port, "gRPC cannot open it, though it is free") from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _refused(host: str, port: int, reason: str) -> UserError:
    other = "--host" if is_unix(host) else "--port or --host"
    return UserError(f"cannot listen on {address(host, port)}: {reason}; choose another {other}")


def _try_path(path: Path) -> None:
    """Remove a dead server's socket at `path`; raise `OSError` where the path cannot be bound."""
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise OSError(errno.ENAMETOOLONG, f"a socket's path has at most {_MAX_PATH_BYTES} bytes")
    if path.exists():
        # gRPC would remove any socket, even that of a running server.
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise OSError(errno.EEXIST, "a file is there that is no socket")
        if _is_alive(path):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        path.unlink()
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(path))
    path.unlink()


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as own:
        own.settimeout(_CONNECT_SECONDS)
        try:
            own.connect(str(path))
        except ConnectionRefusedError:
            return False
        except (TimeoutError, BlockingIOError):
            return True
        return True
