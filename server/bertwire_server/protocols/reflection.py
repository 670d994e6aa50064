"""gRPC's reflection: what services there are and what their messages look like, for tools that have no protos.

Version 1 is v1alpha under another name. Newer tools ask for it alone; grpcio-reflection has v1alpha alone.
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
    """Adds the service by both of its names, which know the services named, and themselves."""
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
    """The process's own descriptors, with version 1 among them."""
    file = json_format.MessageToJson(_copy(reflection_pb2.DESCRIPTOR))
    pool = descriptor_pool.Default()
    pool.Add(json_format.Parse(file.replace(_ALPHA, "v1"), FileDescriptorProto()))
    return pool


def _copy(descriptor: Any) -> FileDescriptorProto:  # noqa: ANN401 - grpcio-reflection has no types
    file = FileDescriptorProto()
    descriptor.CopyToProto(file)
    return file
