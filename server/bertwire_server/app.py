"""The life of a server: bind, load, warm up, serve, drain."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import grpc.aio
from grpc_health.v1 import health, health_pb2

from bertwire_export.bundle import Bundle, open_bundle
from bertwire_server.access.setup import open_access, warn_if_open
from bertwire_server.config import ServerConfig
from bertwire_server.edge import Edge
from bertwire_server.inference import Inference, RequestLimits
from bertwire_server.model.engine import Engine, choose_engine
from bertwire_server.model.given import labels_given
from bertwire_server.model.model import Model
from bertwire_server.model.queue import BatchLimits
from bertwire_server.repository.registry import Registry
from bertwire_server.telemetry.metrics import Metrics
from bertwire_server.telemetry.model_metrics import ModelInfo, ModelMetrics
from bertwire_server.telemetry.reporting import Telemetry
from bertwire_server.transport import SERVICES, Services, bind, build_server

_log = logging.getLogger(__name__)
# Time for answers already given to leave, and the most that open health watches can delay the exit.
_FLUSH_SECONDS = 1.0
# Time for calls that were sent before their client could know to arrive and be accepted.
_ON_THE_WAY_SECONDS = 0.25
# How long no call arrives before gRPC is stopped, and how long that is waited for.
_QUIET_SECONDS, _MAX_QUIET_SECONDS = 0.1, 2.0


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
    server = build_server(
        config, edge, Edge(access.gate, telemetry), Services(registry, inference, watch, telemetry.metrics)
    )
    await _set_health(watch, health_pb2.HealthCheckResponse.NOT_SERVING)
    port = bind(server, config.host, config.port, access.credentials)
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
    edge.close()
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
    for service in ("", *SERVICES):
        await watch.set(service, status)


def _ready_line(model: Model, host: str, port: int) -> str:
    manifest, engine = model.manifest, model.engine
    where = f"[{host}]" if ":" in host else host
    return (
        f"serving {manifest.name} version {manifest.version}, variant {engine.variant.name} on {engine.provider}, "
        f"at {where}:{port}"
    )
