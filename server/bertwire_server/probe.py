"""A health check for containers: `python -m bertwire_server.probe ADDRESS [SERVICE]` exits 0 where it is SERVING."""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_SECONDS = 2.0


def is_serving(address: str, service: str = "") -> bool:
    """Asks `grpc.health.v1` at `address`; False where nobody answers within 2 seconds."""
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            response = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_SECONDS)
        except grpc.RpcError:
            return False
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(0 if is_serving(*sys.argv[1:]) else 1)
