"""The ways to two servers: nginx, HAProxy, or a client that knows both; set as docs/operations.md advises."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bertwire_core.errors import UserError

# Ways through a program of that name, and the one without.
PROXIES, WITHOUT = ("nginx", "haproxy"), "round_robin"
WAYS = (*PROXIES, WITHOUT)

_NGINX = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr error;
events {{}}
http {{
    access_log off;
    upstream bertwire {{
        server 127.0.0.1:{0} max_fails=0;
        server 127.0.0.1:{1} max_fails=0;
        keepalive 32;
    }}
    server {{
        listen 127.0.0.1:{port} http2;
        keepalive_requests 1000000000;
        client_max_body_size 0;
        location / {{
            grpc_pass grpc://bertwire;
            grpc_connect_timeout 1s;
            grpc_read_timeout 1h;
            grpc_send_timeout 1h;
            grpc_next_upstream error timeout invalid_header non_idempotent;
        }}
    }}
}}
"""
# HAProxy 2.6 cannot ask gRPC for health: the bytes of one call of grpc.health.v1.Health/Check over HTTP/2 can; the
# answer that is expected says SERVING.
_CHECK = (
    "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a"  # the preface
    "000000040000000000"  # SETTINGS
    "000047010400000001"  # HEADERS of stream 1: POST, http, the path, authority, content-type, te
    "8386041c2f677270632e6865616c74682e76312e4865616c74682f436865636b"
    "0105636865636b0f10106170706c69636174696f6e2f677270630002746508747261696c657273"
    "0000050001000000010000000000"  # DATA: an empty message
)
_HAPROXY = """
defaults
    mode http
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    retries 3
    option redispatch 1
    retry-on all-retryable-errors
frontend calls
    bind 127.0.0.1:{port} proto h2
    default_backend bertwire
backend bertwire
    balance roundrobin
    option tcp-check
    timeout check 2s
    tcp-check connect
    tcp-check send-binary {check}
    tcp-check expect binary 00000000020801
    default-server proto h2 check inter 500ms fall 2 rise 1
    server first 127.0.0.1:{0}
    server second 127.0.0.1:{1}
"""


def is_here(way: str) -> bool:
    """Whether what the way needs is installed."""
    return way == WITHOUT or shutil.which(way) is not None


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@asynccontextmanager
async def opened(way: str, ports: Sequence[int], folder: Path) -> AsyncIterator[str]:
    """The address under which the servers at two ports of this machine are called that way.

    Args:
        way: one of `WAYS`.
        ports: of the servers.
        folder: for what proxies write.

    Raises:
        UserError: the proxy does not start.
    """
    if way == WITHOUT:
        yield "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
        return
    [port] = free_ports(1)
    settings = folder / f"{way}.conf"
    settings.write_text(
        (_NGINX if way == "nginx" else _HAPROXY).format(*ports, port=port, check=_CHECK), encoding="utf-8"
    )
    options = ["-p", str(folder), "-c", str(settings)] if way == "nginx" else ["-db", "-f", str(settings)]
    process = await asyncio.create_subprocess_exec(way, *options, stderr=asyncio.subprocess.DEVNULL)
    try:
        await _listens(process, port)
        yield f"127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _listens(process: asyncio.subprocess.Process, port: int) -> None:
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise UserError("the proxy did not start")
