"""Health check for containers: `python -m bertwire_server.probe ADDRESS [SERVICE]` exits 0 where it is SERVING.

Otherwise it prints why in one line on standard error, and exits 1.

It tries plaintext, then TLS. No secret is exchanged, so it accepts any server certificate; where the server requires a
client certificate, give it with --tls-certificate and --tls-key.
"""

import argparse
import socket
import ssl
import sys
import time
from pathlib import Path

import grpc

from bertwire.health import health_pb2, health_pb2_grpc
from bertwire_client.channel import check_address, tls_credentials
from bertwire_core.errors import UserError

# Seconds for all of a check. Halved, a busy server counts as unhealthy; doubled, one that hangs is found later.
_SECONDS = 2.0
_UNIX = "unix:"
# Connect directly, whatever proxy the environment sets.
_OPTIONS = [("grpc.enable_http_proxy", 0)]


def health(
    address: str,
    service: str = "",
    certificate: Path | None = None,
    key: Path | None = None,
    *,
    seconds: float = _SECONDS,
) -> str:
    """Return `grpc.health.v1`'s status at `address`, or a failure's code or message, within `seconds`."""
    end = time.monotonic() + seconds
    with grpc.insecure_channel(address, _OPTIONS) as channel:
        status = _status(channel, service, end)
    if status is None and (shown := _certificate(address, end)) is not None:
        with _pinned(address, shown, certificate, key) as channel:
            status = _status(channel, service, end)
    trust = "does it want another client certificate?" if certificate else "does it want a client certificate?"
    return status or f"no answer; is it started, is this its port, {trust}"


def _status(channel: grpc.Channel, service: str, end: float) -> str | None:
    """Return the status or error code; None where the server is unreachable over this channel."""
    request = health_pb2.HealthCheckRequest(service=service)
    try:
        status = health_pb2_grpc.HealthStub(channel).Check(request, timeout=end - time.monotonic()).status
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(status))
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return None if code is grpc.StatusCode.UNAVAILABLE else code.name


def _certificate(address: str, end: float) -> bytes | None:
    """Return the server's certificate in PEM; None where it does not speak TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with _connected(address, max(end - time.monotonic(), 0.01)) as plain, context.wrap_socket(plain) as secure:
            shown = secure.getpeercert(binary_form=True)
    except (OSError, ValueError):
        return None
    return ssl.DER_cert_to_PEM_cert(shown).encode() if shown else None


def _connected(address: str, seconds: float) -> socket.socket:
    if not address.startswith(_UNIX):
        host, _, port = address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), seconds)
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.settimeout(seconds)
        connected.connect(address.removeprefix(_UNIX).removeprefix("//"))
    except OSError:
        connected.close()
        raise
    return connected


def _pinned(address: str, shown: bytes, certificate: Path | None, key: Path | None) -> grpc.Channel:
    """Return a channel that trusts exactly this certificate, under any name."""
    own = [None if path is None else path.read_bytes() for path in (key, certificate)]
    credentials = grpc.ssl_channel_credentials(shown, *own)
    return grpc.secure_channel(address, credentials, [*_OPTIONS, ("grpc.ssl_target_name_override", _name(shown))])


def _name(shown: bytes) -> str:
    """Return one of the certificate's names; empty where it has none."""
    from cryptography import x509

    parsed = x509.load_pem_x509_certificate(shown)
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "".join(str(each.value) for each in parsed.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[:1])
    found = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return next(iter(found), "")


def _main() -> int | str:
    parser = argparse.ArgumentParser(prog="bertwire_server.probe", description="Exits 0 where a server is SERVING.")
    parser.add_argument("address", help="host:port, or unix:PATH")
    parser.add_argument("service", nargs="?", default="", help="default: the server as a whole")
    parser.add_argument("--tls-certificate", type=Path, help="client certificate, PEM")
    parser.add_argument("--tls-key", type=Path, help="its private key, PEM")
    options = parser.parse_args()
    try:
        check_address(options.address)
        tls_credentials(
            None, options.tls_certificate, options.tls_key
        )  # only validates them: gRPC aborts on half a pair
        said = health(options.address, options.service, options.tls_certificate, options.tls_key)
    except UserError as error:
        return str(error)
    return 0 if said == "SERVING" else f"{options.service or 'the server'} at {options.address}: {said}"


if __name__ == "__main__":
    sys.exit(_main())
