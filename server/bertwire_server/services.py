"""Construction of the gRPC server: options and services."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import grpc.aio

from bertwire.health import health_pb2, health_pb2_grpc
from bertwire.oip import inference_pb2, model_repository_pb2
from bertwire.oip.inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from bertwire.oip.model_repository_pb2_grpc import add_ModelRepositoryServiceServicer_to_server
from bertwire.tei import tei_pb2
from bertwire.tei.tei_pb2_grpc import (
    add_EmbedServicer_to_server,
    add_InfoServicer_to_server,
    add_PredictServicer_to_server,
    add_RerankServicer_to_server,
    add_TokenizeServicer_to_server,
)
from bertwire.v1 import classifier_pb2, embedder_pb2, repository_pb2
from bertwire.v1.classifier_pb2_grpc import add_ClassifierServicer_to_server
from bertwire.v1.embedder_pb2_grpc import add_EmbedderServicer_to_server
from bertwire.v1.repository_pb2_grpc import add_ModelRepositoryServicer_to_server
from bertwire_server.access.connection import connection_options
from bertwire_server.config import ServerConfig
from bertwire_server.edge import Edge
from bertwire_server.explain import Explainer
from bertwire_server.handlers import Guarded
from bertwire_server.inference import Inference
from bertwire_server.protocols.classifier import Classifier
from bertwire_server.protocols.embedder import Embedder
from bertwire_server.protocols.health import Health
from bertwire_server.protocols.oip.repository import RepositoryCalls
from bertwire_server.protocols.oip.service import OpenInference
from bertwire_server.protocols.reflection import add_reflection
from bertwire_server.protocols.repository import ModelRepository
from bertwire_server.protocols.streams import StreamLimits
from bertwire_server.protocols.tei import TeiInfo, TeiPredict
from bertwire_server.protocols.tei_tokens import TeiTokenize
from bertwire_server.protocols.tei_vectors import TeiEmbed, TeiRerank
from bertwire_server.repository.fleet import Fleet
from bertwire_server.telemetry.metrics import Metrics

_MAX_PENDING = 1 << 20


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What servicers are made of, one of each a server."""

    config: ServerConfig
    fleet: Fleet
    inference: Inference
    health: Health
    metrics: Metrics

    @property
    def message_bytes(self) -> int:
        """Return the bytes of the largest message."""
        return self.config.max_message_mb << 20

    @property
    def streams(self) -> StreamLimits:
        """Return the limits of a stream."""
        return StreamLimits(self.config.max_stream_requests, self.message_bytes)


def _classifier(given: Dependencies) -> Classifier:
    # The text itself is run with its parts.
    explainer = Explainer(given.inference, min(given.config.max_explain_spans, given.config.max_texts - 1))
    return Classifier(given.inference, explainer, given.fleet, given.streams, given.metrics)


def _open_inference(given: Dependencies) -> OpenInference:
    return OpenInference(
        given.inference,
        given.fleet,
        given.fleet,
        given.config.max_texts,
        given.streams,
        given.metrics,
        stopping=given.health.is_closed,
        allow_timeout_override=given.config.allow_timeout_override,
    )


def _name(file: ModuleType, service: str) -> str:
    """Return the full name of a proto's service."""
    return str(file.DESCRIPTOR.services_by_name[service].full_name)


class _Row(NamedTuple):
    """A service that needs models: its full name, the generated function that adds it, and how to make its servicer."""

    name: str
    add: Callable[[Any, Any], None]
    servicer: Callable[[Dependencies], object]


_ROWS = (
    _Row(_name(classifier_pb2, "Classifier"), add_ClassifierServicer_to_server, _classifier),
    _Row(
        _name(embedder_pb2, "Embedder"),
        add_EmbedderServicer_to_server,
        lambda given: Embedder(given.inference, given.streams, given.metrics),
    ),
    _Row(
        _name(repository_pb2, "ModelRepository"),
        add_ModelRepositoryServicer_to_server,
        lambda given: ModelRepository(given.fleet),
    ),
    _Row(_name(inference_pb2, "GRPCInferenceService"), add_GRPCInferenceServiceServicer_to_server, _open_inference),
    _Row(
        _name(model_repository_pb2, "ModelRepositoryService"),
        add_ModelRepositoryServiceServicer_to_server,
        lambda given: RepositoryCalls(given.fleet, given.fleet),
    ),
    _Row(
        _name(tei_pb2, "Info"),
        add_InfoServicer_to_server,
        lambda given: TeiInfo(given.fleet, given.config.max_queue_texts),
    ),
    _Row(
        _name(tei_pb2, "Predict"),
        add_PredictServicer_to_server,
        lambda given: TeiPredict(given.inference, given.streams, given.metrics),
    ),
    _Row(
        _name(tei_pb2, "Embed"),
        add_EmbedServicer_to_server,
        lambda given: TeiEmbed(given.inference, given.streams, given.metrics),
    ),
    _Row(
        _name(tei_pb2, "Rerank"),
        add_RerankServicer_to_server,
        lambda given: TeiRerank(given.inference, given.fleet),
    ),
    _Row(
        _name(tei_pb2, "Tokenize"),
        add_TokenizeServicer_to_server,
        lambda given: TeiTokenize(given.inference, given.streams, given.metrics),
    ),
)
# Health has an entry for each.
SERVICES = tuple(each.name for each in _ROWS)


def build_server(edge: Edge, beside: Edge, given: Dependencies) -> grpc.aio.Server:
    """Return a server that is not started.

    Args:
        edge: wraps the services that need models.
        beside: wraps health and reflection, which the drain neither refuses nor waits for.
        given: what the services are made of.
    """
    server = grpc.aio.server(
        options=[
            # Where the port is not shared, a second server on it would start and take half of the calls.
            ("grpc.so_reuseport", int(given.config.processes > 1)),
            # Above 1000 pending calls gRPC cancels some at random; admission refuses them with a reason instead.
            ("grpc.server.max_pending_requests", _MAX_PENDING),
            ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING),
            ("grpc.max_receive_message_length", given.message_bytes),
            ("grpc.max_send_message_length", given.message_bytes),
            *connection_options(given.config),
        ]
    )
    guarded = Guarded(edge, server)
    for each in _ROWS:
        each.add(each.servicer(given), guarded)
    guarded = Guarded(beside, server)
    health_pb2_grpc.add_HealthServicer_to_server(given.health, guarded)
    add_reflection((*SERVICES, _name(health_pb2, "Health")), guarded)
    return server
