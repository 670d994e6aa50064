"""Server lifecycle: load, warm up, listen, serve, drain."""

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

import grpc.aio

from bertwire_core.errors import UserError
from bertwire_runtime.bundle import Bundle
from bertwire_runtime.predictor import Predictor
from bertwire_server.access.setup import open_access, warn_if_open
from bertwire_server.config import ServerConfig
from bertwire_server.edge import Edge
from bertwire_server.host import Host
from bertwire_server.inference import Inference, RequestLimits
from bertwire_server.listen import address, bind, check
from bertwire_server.model.model import Model, Serving
from bertwire_server.protocols.health import Health
from bertwire_server.repository.counted import CountedModels
from bertwire_server.repository.fleet import Fleet
from bertwire_server.repository.folder import open_source
from bertwire_server.repository.follow import follow
from bertwire_server.repository.loader import Loader
from bertwire_server.repository.registry import Registry
from bertwire_server.services import SERVICES, Dependencies, build_server
from bertwire_server.telemetry.reporting import Telemetry

_log = logging.getLogger(__name__)
# Seconds for sent answers to be flushed; also the longest delay of the exit by open health watches.
_FLUSH_SECONDS = 1.0
# Seconds for which answers are held back before connections are closed.
_HOLD_SECONDS = 0.02
# Seconds in which an answer that its caller has is noted as sent; halved, a loaded machine counts it as given up.
_NOTED_SECONDS = 0.5
# Seconds for models to stop after draining; an abandoned batch may still be running.
_END_SECONDS = 5.0


async def serve(config: ServerConfig, announce: Callable[[str], None], host: Host | None = None) -> None:
    """Serve models until told to stop, then drain and return; a second order ends the drain at once.

    Args:
        config: settings of the server.
        announce: called once with the line that says where the server is ready.
        host: what runs the server and stops it; None: this process, by SIGTERM or SIGINT.

    Raises:
        UserError: a model, the provider or the port cannot be used, or calls were abandoned in the drain.
    """
    host = host or Host()
    stop, hurry = host.stops()
    source = await asyncio.to_thread(open_source, config.bundle, config.public_key, config.default_model)
    access = await asyncio.to_thread(open_access, config)
    warn_if_open(config.host, config)
    telemetry = Telemetry(config)
    host.metrics_at(telemetry.metrics_port)
    if tls := access.tls:
        telemetry.metrics.show_certificate(lambda: tls.value.ends)
    registry, health_service = Registry(), Health()
    shared = config.processes > 1
    edge = Edge(access.gate, telemetry, config.max_message_mb << 20, one_of_several=shared)
    beside = Edge(access.gate, telemetry)
    inference = Inference(registry, RequestLimits(config.max_texts, config.max_text_chars, config.max_call_chars))
    counted = CountedModels(telemetry.metrics)
    loader = Loader(config.public_key, _build(config, counted))
    fleet = Fleet(source, loader, registry, _publish(health_service, host), counted)
    server = build_server(edge, beside, Dependencies(config, fleet, inference, health_service, telemetry.metrics))
    if not shared:
        check(config.host, config.port)
    _settle_heap()
    background = [asyncio.create_task(each) for each in (access.watch(), follow(fleet, source, config.watch_seconds))]
    try:
        await _first(fleet.start(), stop.wait())
        if not stop.is_set():
            # Only after warm-up: clients that ignore health send calls as soon as they can connect.
            port = bind(server, config.host, config.port, access.credentials, shared=shared)
            await server.start()
            announce(f"serving {fleet.summary()}, at {address(config.host, port)}")
            await stop.wait()
            _log.info("told to stop: accepting calls for another %g s", config.shutdown_delay_seconds)
            await _first(_drain(server, edge, health_service, config), hurry.wait())
            if hurry.is_set():
                await _gave_up(edge)
    finally:
        for task in background:
            task.cancel()
        await server.stop(0)
        await _first(_stopped(fleet), hurry.wait())
        await telemetry.close()


async def _gave_up(edge: Edge) -> None:
    """Raise `UserError` where a second signal finds calls without an answer."""
    with suppress(TimeoutError):
        await asyncio.wait_for(edge.idle.wait(), _NOTED_SECONDS)
    if edge.in_flight:
        raise UserError(f"told to stop again: gave up {edge.in_flight} calls in flight")


def _settle_heap() -> None:
    """Exempt the objects present at startup, mostly modules, from garbage collection.

    Full collections of them would block the event loop for tens of milliseconds. Models are loaded later, so that an
    unloaded one can be collected.
    """
    gc.collect()
    gc.freeze()


async def _stopped(fleet: Fleet) -> None:
    """Stop the models; return after _END_SECONDS, since a run may hang or a bundle be loading."""
    try:
        async with asyncio.timeout(_END_SECONDS):
            await fleet.stop()
    except TimeoutError:
        _log.warning("the models have not stopped within %g s; leaving them behind", _END_SECONDS)


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait for the first coroutine to end and cancel the others; raise its error."""
    tasks = [asyncio.create_task(each) for each in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


def _build(config: ServerConfig, counted: CountedModels) -> Callable[[Bundle], Model]:
    """Return the function that builds a model from a bundle with these settings."""
    serving = Serving(
        batch_seconds=None if config.max_batch_ms is None else config.max_batch_ms / 1e3,
        room=config.max_queue_texts,
        hang_seconds=config.hang_seconds,
        cache_bytes=config.cache_mb << 20,
    )

    def build(bundle: Bundle) -> Model:
        return counted.build(Predictor(bundle, config.variant, config.provider, config.threads), serving)

    return build


def _publish(health_service: Health, host: Host) -> Callable[[Mapping[str, bool]], None]:
    """Return the function that publishes health; gRPC services have the status of the server."""

    def publish(serving: Mapping[str, bool]) -> None:
        health_service.publish({**serving, **dict.fromkeys(SERVICES, serving[""])})
        host.serving(serving[""])

    publish({"": False})
    return publish


async def _drain(server: grpc.aio.Server, edge: Edge, health_service: Health, config: ServerConfig) -> None:
    """Publish NOT_SERVING, accept calls for the shutdown delay, then close connections and finish accepted calls.

    Raises:
        UserError: calls were abandoned at the time limit.
    """
    health_service.close()
    await asyncio.sleep(config.shutdown_delay_seconds)
    edge.hold()
    await asyncio.sleep(_HOLD_SECONDS)
    # Stop the port and send GOAWAY before streams end, or clients would reopen them here.
    stopping = asyncio.create_task(server.stop(config.drain_seconds + _FLUSH_SECONDS))
    await asyncio.sleep(0)
    edge.close()
    _log.info("no longer accepting calls: draining %d", edge.in_flight)
    with suppress(TimeoutError):
        await asyncio.wait_for(edge.idle.wait(), config.drain_seconds)
    given_up = edge.in_flight
    await server.stop(_FLUSH_SECONDS)
    await stopping
    if given_up:
        seconds = f"{config.drain_seconds:g} s of --drain-seconds"
        raise UserError(f"gave up {given_up} calls that were not answered within the {seconds}")
