"""gRPC server reflection, v1 and v1alpha.

The versions differ in name only. Newer tools request v1; grpcio-reflection has only v1alpha.
"""

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pool, json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

_ALPHA = "v1alpha"
_VERSIONS = (_ALPHA, "v1")


def add_reflection(services: Sequence[str], server: Any) -> None:  # noqa: ANN401 - what a generated add_..._to_server takes
    """Add both versions of the service for the named services and reflection itself."""
    names = {version: reflection.SERVICE_NAME.replace(_ALPHA, version) for version in _VERSIONS}
    servicer = reflection.aio.ReflectionServicer((*services, *names.values()), _pool())
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in names.values():
        server.add_registered_method_handlers(name, {"ServerReflectionInfo": handler})


def _pool() -> descriptor_pool.DescriptorPool:
    """Return the process's descriptor pool with v1 added."""
    file = json_format.MessageToJson(_copy(reflection_pb2.DESCRIPTOR))
    pool = descriptor_pool.Default()
    pool.Add(json_format.Parse(file.replace(_ALPHA, "v1"), FileDescriptorProto()))
    return pool


def _copy(descriptor: Any) -> FileDescriptorProto:  # noqa: ANN401 - grpcio-reflection has no types
    file = FileDescriptorProto()
    descriptor.CopyToProto(file)
    return file
