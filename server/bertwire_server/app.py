"""The life of a server: bind, load, warm up, serve, drain."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from bertwire.oip.inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from bertwire.v1 import classifier_pb2
from bertwire.v1.classifier_pb2_grpc import add_ClassifierServicer_to_server
from bertwire_client.errors import UserError
from bertwire_export.bundle import Bundle, open_bundle
from bertwire_server.access.connection import connection_options
from bertwire_server.access.setup import open_access, warn_if_open
from bertwire_server.config import ServerConfig
from bertwire_server.edge import Edge
from bertwire_server.inference import Inference, RequestLimits
from bertwire_server.model.engine import Engine, choose_engine
from bertwire_server.model.given import labels_given
from bertwire_server.model.model import Model
from bertwire_server.model.queue import BatchLimits
from bertwire_server.protocols.classifier import Classifier
from bertwire_server.protocols.oip.catalog import FixedCatalog
from bertwire_server.protocols.oip.service import SERVICE as OPEN_INFERENCE
from bertwire_server.protocols.oip.service import OpenInference
from bertwire_server.repository.registry import Registry
from bertwire_server.telemetry.metrics import Metrics
from bertwire_server.telemetry.model_metrics import ModelInfo, ModelMetrics
from bertwire_server.telemetry.reporting import Telemetry

_log = logging.getLogger(__name__)
_SERVICE = classifier_pb2.DESCRIPTOR.services_by_name["Classifier"].full_name
# Time for answers already given to leave, and the most that open health watches can delay the exit.
_FLUSH_SECONDS = 1.0
# Time for calls that were sent before their client could know to arrive and be accepted.
_ON_THE_WAY_SECONDS = 0.25
# How long no call arrives before gRPC is stopped, and how long that is waited for.
_QUIET_SECONDS, _MAX_QUIET_SECONDS = 0.1, 2.0
_MAX_PENDING = 1 << 20


async def serve(config: ServerConfig, announce: Callable[[str], None]) -> None:
    """Serves one bundle until SIGTERM or SIGINT, then answers what it has accepted and returns; at once on a second.

    Args:
        config: the settings.
        announce: told once, in one line, when and where the server is ready.

    Raises:
        UserError: the bundle, the provider or the port cannot be used.
    """
    stop, hurry = _stop_signals()
    bundle = await asyncio.to_thread(open_bundle, config.bundle, config.public_key)
    access = await asyncio.to_thread(open_access, config)
    warn_if_open(config.host, config)
    telemetry = Telemetry(config)
    edge, registry, watch = Edge(access.gate, telemetry), Registry(), health.aio.HealthServicer()
    inference = Inference(registry, RequestLimits(config.max_texts, config.max_text_chars, config.max_call_chars))
    server = _server(config, edge, inference, FixedCatalog(registry), watch, telemetry.metrics)
    await _set_health(watch, health_pb2.HealthCheckResponse.NOT_SERVING)
    port = _bind(server, config, access.credentials)
    await server.start()
    watching = asyncio.create_task(access.watch())
    model = None
    try:
        model = await _load(config, bundle, stop, telemetry.metrics)
        if model is not None:
            model.start()
            registry.use(model)
            await _set_health(watch, health_pb2.HealthCheckResponse.SERVING)
            announce(_ready_line(model, config.host, port))
            await _first(stop.wait(), _watch_over(model, watch))
            _log.info("told to stop: draining %d calls in flight", edge.in_flight)
            await _first(_drain(server, edge, watch, config.drain_seconds), hurry.wait())
            if hurry.is_set():
                _log.warning("told to stop again: giving up on %d calls", edge.in_flight)
    finally:
        watching.cancel()
        await server.stop(0)
        if model is not None:
            await model.stop()
        await telemetry.close()


def _stop_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Set by the first and by the second SIGTERM or SIGINT."""
    first, second = asyncio.Event(), asyncio.Event()

    def note() -> None:
        (second if first.is_set() else first).set()

    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, note)
    return first, second


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    """Returns when one of them has ended, and ends the others; raises what that one raised."""
    tasks = [asyncio.create_task(each) for each in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


async def _watch_over(model: Model, watch: health.aio.HealthServicer) -> None:
    """Turns health NOT_SERVING where the model ends by itself, and waits for ever: the owner sees, and stops us."""
    await model.ended()
    await _set_health(watch, health_pb2.HealthCheckResponse.NOT_SERVING)
    await asyncio.Event().wait()


def _server(
    config: ServerConfig,
    edge: Edge,
    inference: Inference,
    catalog: FixedCatalog,
    watch: health.aio.HealthServicer,
    metrics: Metrics,
) -> grpc.aio.Server:
    bytes_limit = config.max_message_mb << 20
    server = grpc.aio.server(
        options=[
            # Otherwise a second server on the same port would start too, and take half of the calls.
            ("grpc.so_reuseport", 0),
            # Above 1000 calls that have not begun gRPC cancels some at random; our own queue refuses, and says why.
            ("grpc.server.max_pending_requests", _MAX_PENDING),
            ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING),
            ("grpc.max_receive_message_length", bytes_limit),
            ("grpc.max_send_message_length", bytes_limit),
            *connection_options(config),
        ],
    )
    classifier = Classifier(inference, config.max_stream_requests, edge.closing, metrics)
    add_ClassifierServicer_to_server(classifier, edge.over(server))
    open_inference = OpenInference(
        inference, catalog, catalog, config.max_texts, config.max_stream_requests, edge.closing, metrics
    )
    add_GRPCInferenceServiceServicer_to_server(open_inference, edge.over(server))
    health_pb2_grpc.add_HealthServicer_to_server(watch, server)
    names = (_SERVICE, OPEN_INFERENCE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(names), edge.over(server))
    return server


def _bind(server: grpc.aio.Server, config: ServerConfig, credentials: grpc.ServerCredentials | None) -> int:
    address = f"[{config.host}]:{config.port}" if ":" in config.host else f"{config.host}:{config.port}"
    try:
        # Tried with a socket of our own first: it knows the reason, where gRPC knows only that it failed.
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        socket.create_server((config.host, config.port), family=family).close()
        if credentials is not None:
            return server.add_secure_port(address, credentials)
        return server.add_insecure_port(address)
    except (OSError, RuntimeError) as error:
        # asyncio and socket put the address into the reason a second time.
        reason = str(getattr(error, "strerror", None) or error).partition(" (while")[0]
        raise UserError(f"cannot listen on {address}: {reason}; choose another --port or --host") from error


async def _load(config: ServerConfig, bundle: Bundle, stop: asyncio.Event, metrics: Metrics) -> Model | None:
    """Loads and warms the model in a thread that nothing can end; None where the server was told to stop meanwhile."""
    limits = BatchLimits(
        tokens=config.max_batch_tokens,
        texts=config.max_batch_texts,
        delay=config.max_delay_ms / 1e3,
        waiting=config.max_queue_texts,
    )

    def load() -> tuple[Model, ModelMetrics]:
        engine = choose_engine(bundle, config.variant, config.provider, config.threads)
        counted = ModelMetrics(_info(bundle, engine, config))
        model = Model(bundle, engine, limits, config.hang_seconds, counted)
        model.warm_up()
        return model, counted

    model, counted = await asyncio.to_thread(load)
    if stop.is_set():
        return None
    metrics.loaded(counted, model)
    return model


def _info(bundle: Bundle, engine: Engine, config: ServerConfig) -> ModelInfo:
    manifest, variant = bundle.manifest, engine.variant
    return ModelInfo(
        name=manifest.name,
        version=manifest.version,
        variant=variant.name,
        precision=variant.precision,
        provider=engine.provider,
        layout=variant.layout,
        task=manifest.task,
        labels=labels_given(manifest),
        queue_texts=config.max_queue_texts,
    )


async def _drain(server: grpc.aio.Server, edge: Edge, watch: health.aio.HealthServicer, seconds: float) -> None:
    """Says NOT_SERVING, answers what has been sent until then within `seconds`, and refuses what comes later.

    gRPC's own stop comes last: it would cancel the calls that have arrived and wait for their handler to begin, and a
    client does not try again after CANCELLED as it does after UNAVAILABLE.
    """
    await watch.enter_graceful_shutdown()
    await asyncio.sleep(_ON_THE_WAY_SECONDS)
    edge.closing.set()
    with suppress(TimeoutError):
        await asyncio.wait_for(edge.idle.wait(), seconds)
    if edge.in_flight:
        _log.warning("giving up on %d calls after %.0f s", edge.in_flight, seconds)
    await _quiet(edge)
    await server.stop(_FLUSH_SECONDS)


async def _quiet(edge: Edge) -> None:
    """Returns when no call has arrived for a moment, so that none is just arriving; or after a while all the same."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _MAX_QUIET_SECONDS
    while loop.time() < end:
        edge.arrived.clear()
        try:
            await asyncio.wait_for(edge.arrived.wait(), _QUIET_SECONDS)
        except TimeoutError:
            return


async def _set_health(watch: health.aio.HealthServicer, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
    for service in ("", _SERVICE):
        await watch.set(service, status)


def _ready_line(model: Model, host: str, port: int) -> str:
    manifest, engine = model.manifest, model.engine
    where = f"[{host}]" if ":" in host else host
    return (
        f"serving {manifest.name} version {manifest.version}, variant {engine.variant.name} on {engine.provider}, "
        f"at {where}:{port}"
    )
