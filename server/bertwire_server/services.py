"""Construction of the gRPC server: options and services."""

from dataclasses import dataclass

import grpc.aio

from bertwire.health import health_pb2, health_pb2_grpc
from bertwire.oip import inference_pb2, model_repository_pb2
from bertwire.oip.inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from bertwire.oip.model_repository_pb2_grpc import add_ModelRepositoryServiceServicer_to_server
from bertwire.tei import tei_pb2
from bertwire.tei.tei_pb2_grpc import add_InfoServicer_to_server, add_PredictServicer_to_server
from bertwire.v1 import classifier_pb2, repository_pb2
from bertwire.v1.classifier_pb2_grpc import add_ClassifierServicer_to_server
from bertwire.v1.repository_pb2_grpc import add_ModelRepositoryServicer_to_server
from bertwire_server.access.connection import connection_options
from bertwire_server.config import ServerConfig
from bertwire_server.edge import Edge
from bertwire_server.handlers import Guarded
from bertwire_server.inference import Inference
from bertwire_server.protocols.classifier import Classifier
from bertwire_server.protocols.health import Health
from bertwire_server.protocols.oip.service import OpenInference
from bertwire_server.protocols.reflection import add_reflection
from bertwire_server.protocols.repository import ModelRepository
from bertwire_server.protocols.streams import StreamLimits
from bertwire_server.protocols.tei import TeiInfo, TeiPredict
from bertwire_server.repository.fleet import Fleet
from bertwire_server.telemetry.metrics import Metrics

# Names of the services that need models; health has an entry for each.
SERVICES = tuple(
    service.full_name
    for file in (
        classifier_pb2.DESCRIPTOR,
        repository_pb2.DESCRIPTOR,
        inference_pb2.DESCRIPTOR,
        model_repository_pb2.DESCRIPTOR,
        tei_pb2.DESCRIPTOR,
    )
    for service in file.services_by_name.values()
)
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_MAX_PENDING = 1 << 20


@dataclass(frozen=True, slots=True)
class Services:
    """Dependencies of the services."""

    fleet: Fleet
    inference: Inference
    health: Health
    metrics: Metrics


def build_server(config: ServerConfig, edge: Edge, beside: Edge, services: Services) -> grpc.aio.Server:
    """Return a server that is not started.

    Args:
        config: the settings.
        edge: wraps the services that need models.
        beside: wraps health and reflection, which the drain neither refuses nor waits for.
        services: their dependencies.
    """
    bytes_limit = config.max_message_mb << 20
    server = grpc.aio.server(
        options=[
            # Otherwise a second server on the same port would start and take half of the calls.
            ("grpc.so_reuseport", 0),
            # Above 1000 pending calls gRPC cancels some at random; admission refuses them with a reason instead.
            ("grpc.server.max_pending_requests", _MAX_PENDING),
            ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING),
            ("grpc.max_receive_message_length", bytes_limit),
            ("grpc.max_send_message_length", bytes_limit),
            *connection_options(config),
        ]
    )
    _add_models(server, config, edge, services)
    guarded = Guarded(beside, server)
    health_pb2_grpc.add_HealthServicer_to_server(services.health, guarded)
    add_reflection((*SERVICES, _HEALTH), guarded)
    return server


def _add_models(server: grpc.aio.Server, config: ServerConfig, edge: Edge, services: Services) -> None:
    guarded = Guarded(edge, server)
    streams = StreamLimits(config.max_stream_requests, config.max_message_mb << 20)
    add_ClassifierServicer_to_server(Classifier(services.inference, services.fleet, streams, services.metrics), guarded)
    add_ModelRepositoryServicer_to_server(ModelRepository(services.fleet), guarded)
    fleet = services.fleet
    open_inference = OpenInference(
        services.inference,
        fleet,
        fleet,
        config.max_texts,
        streams,
        services.metrics,
        stopping=services.health.is_closed,
        allow_timeout_override=config.allow_timeout_override,
    )
    add_GRPCInferenceServiceServicer_to_server(open_inference, guarded)
    add_ModelRepositoryServiceServicer_to_server(open_inference, guarded)
    add_InfoServicer_to_server(TeiInfo(services.fleet, config.max_queue_texts), guarded)
    add_PredictServicer_to_server(TeiPredict(services.inference, streams, services.metrics), guarded)
