"""Just enough HTTP/2 to send a server what no gRPC client would."""

import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
# Bytes of a stream and of a connection that may come before their reader has made more room (RFC 9113, 6.9.2).
WINDOW = 65_535
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def message(content: bytes) -> bytes:
    """A gRPC message, uncompressed."""
    return struct.pack(">BI", 0, len(content)) + content


def headers(method: str, stream: int = 1, more: Mapping[str, Any] | None = None) -> bytes:
    """The frame that begins a call of a method, as `/tei.v1.Predict/Predict`, with `more` metadata, text or bytes."""
    fields: dict[str, Any] = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "test",
        "te": "trailers",
        "content-type": "application/grpc",
    } | dict(more or {})
    return frame(HEADERS, END_HEADERS, stream, b"".join(_literal(*each) for each in fields.items()))


def _literal(name: str, value: str | bytes) -> bytes:
    # HPACK's literal without indexing, lengths below 127.
    parts = (name.encode(), value.encode() if isinstance(value, str) else value)
    return b"\x00" + b"".join(bytes([len(each)]) + each for each in parts)


def connect(address: str) -> socket.socket:
    """A connection with which nothing has been said yet."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def say_hello(connection: socket.socket) -> None:
    """Opens HTTP/2."""
    connection.sendall(PREFACE + frame(SETTINGS, 0, 0))


def room(stream: int) -> bytes:
    """The frame that lets 16 MiB more come on a stream, or with 0 on the connection."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 1 << 24))


def frames(connection: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    """The kind, the flags, the stream and the payload of each frame that comes."""
    buffer = b""
    while True:
        while len(buffer) < 9 or len(buffer) < 9 + int.from_bytes(buffer[:3], "big"):
            received = connection.recv(65536)
            if not received:
                raise ConnectionResetError("the server has closed the connection")
            buffer += received
        length, stream = int.from_bytes(buffer[:3], "big"), int.from_bytes(buffer[5:9], "big")
        yield buffer[3], buffer[4], stream, buffer[9 : 9 + length]
        buffer = buffer[9 + length :]


def heard(connection: socket.socket) -> None:
    """Returns when the server has read all that was sent before."""
    connection.sendall(frame(PING, 0, 0, b"01234567"))
    for kind, flags, _, _ in frames(connection):
        if kind == PING and flags & ACK:
            return


def reset(connection: socket.socket) -> None:
    """Ends a connection as a crash does, by RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
