"""Every method that the server answers; whoever adds a service adds its file here."""

from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.descriptor import Descriptor
from grpc_reflection.v1alpha import reflection_pb2

from bertwire.health import health_pb2
from bertwire.oip import inference_pb2, model_repository_pb2
from bertwire.tei import tei_pb2
from bertwire.v1 import classifier_pb2, embedder_pb2, repository_pb2

_FILES: tuple[Any, ...] = (
    classifier_pb2,
    embedder_pb2,
    repository_pb2,
    inference_pb2,
    model_repository_pb2,
    tei_pb2,
    health_pb2,
    reflection_pb2,
)


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        name: its full name, as `/bertwire.v1.Classifier/Classify`.
        takes: what it is asked with.
        takes_stream: whether that is a stream.
        gives_stream: whether it answers in a stream.
    """

    name: str
    takes: Descriptor
    takes_stream: bool
    gives_stream: bool

    def __str__(self) -> str:
        return self.name


METHODS = [
    Method(f"/{service.full_name}/{each.name}", each.input_type, each.client_streaming, each.server_streaming)
    for file in _FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for each in service.methods
]
# Reflection has two names, and one proto.
METHODS += [replace(each, name=each.name.replace("v1alpha", "v1")) for each in METHODS if "v1alpha" in each.name]
