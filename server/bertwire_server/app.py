"""The life of a server: load, warm up, listen, serve, drain."""

import asyncio
import gc
import logging
import signal
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
from bertwire_server.services import SERVICES, Services, build_server
from bertwire_server.telemetry.reporting import Telemetry

_log = logging.getLogger(__name__)
# Time for answers already given to leave, and the most that open health watches can delay the exit.
_FLUSH_SECONDS = 1.0
# How long answers are held back before clients are told to go elsewhere.
_HOLD_SECONDS = 0.02
# Time for models to stop once nothing is left to be answered: a batch that nobody waits for may be under way.
_END_SECONDS = 5.0


async def serve(config: ServerConfig, announce: Callable[[str], None]) -> None:
    """Serves models until SIGTERM or SIGINT, then answers what it has accepted and returns; at once on a second.

    Args:
        config: the settings.
        announce: told once, in one line, when and where the server is ready.

    Raises:
        UserError: no model, the provider or the port cannot be used; or it gave up calls at the end.
    """
    stop, hurry = _stop_signals()
    source = await asyncio.to_thread(open_source, config.bundle, config.public_key, config.default_model)
    access = await asyncio.to_thread(open_access, config)
    warn_if_open(config.host, config)
    telemetry = Telemetry(config)
    if tls := access.tls:
        telemetry.metrics.show_certificate(lambda: tls.value.ends)
    registry, health_service = Registry(), Health()
    edge = Edge(access.gate, telemetry, config.max_message_mb << 20)
    beside = Edge(access.gate, telemetry)
    inference = Inference(registry, RequestLimits(config.max_texts, config.max_text_chars, config.max_call_chars))
    counted = CountedModels(telemetry.metrics)
    loader = Loader(config.public_key, _build(config, counted))
    fleet = Fleet(source, loader, registry, _publish(health_service), counted)
    services = Services(fleet, inference, health_service, telemetry.metrics)
    server = build_server(config, edge, beside, services)
    check(config.host, config.port)
    _settle_heap()
    background = [asyncio.create_task(each) for each in (access.watch(), follow(fleet, source, config.watch_seconds))]
    try:
        await _first(fleet.start(), stop.wait())
        if not stop.is_set():
            # Not before: what asks no health would send calls here as soon as it can connect.
            port = bind(server, config.host, config.port, access.credentials)
            await server.start()
            announce(f"serving {fleet.summary()}, at {address(config.host, port)}")
            await stop.wait()
            _log.info("told to stop: accepting calls for another %g s", config.shutdown_delay_seconds)
            await _first(_drain(server, edge, health_service, config), hurry.wait())
            if hurry.is_set() and edge.in_flight:
                raise UserError(f"told to stop again: gave up {edge.in_flight} calls in flight")
    finally:
        for task in background:
            task.cancel()
        await server.stop(0)
        await _first(_stopped(fleet), hurry.wait())
        await telemetry.close()


def _settle_heap() -> None:
    """Has the garbage collector pass over what is there from the start: modules, mostly.

    Its full collections would else take tens of milliseconds, in which nobody is answered. Models come later, so that
    one that is unloaded can be collected.
    """
    gc.collect()
    gc.freeze()


def _stop_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Set by the first and by the second SIGTERM or SIGINT."""
    first, second = asyncio.Event(), asyncio.Event()

    def note() -> None:
        (second if first.is_set() else first).set()

    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, note)
    return first, second


async def _stopped(fleet: Fleet) -> None:
    """Returns when the models have stopped, or will not soon: a run hangs, or a bundle is being loaded."""
    try:
        async with asyncio.timeout(_END_SECONDS):
            await fleet.stop()
    except TimeoutError:
        _log.warning("the models have not stopped within %g s; leaving them behind", _END_SECONDS)


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


def _build(config: ServerConfig, counted: CountedModels) -> Callable[[Bundle], Model]:
    """How the settings make a model of a bundle."""
    serving = Serving(
        batch_seconds=None if config.max_batch_ms is None else config.max_batch_ms / 1e3,
        room=config.max_queue_texts,
        hang_seconds=config.hang_seconds,
        cache_bytes=config.cache_mb << 20,
    )

    def build(bundle: Bundle) -> Model:
        return counted.build(Predictor(bundle, config.variant, config.provider, config.threads), serving)

    return build


def _publish(health_service: Health) -> Callable[[Mapping[str, bool]], None]:
    """Health says of each service what it says of the server."""

    def publish(serving: Mapping[str, bool]) -> None:
        health_service.publish({**serving, **dict.fromkeys(SERVICES, serving[""])})

    publish({"": False})
    return publish


async def _drain(server: grpc.aio.Server, edge: Edge, health_service: Health, config: ServerConfig) -> None:
    """Says NOT_SERVING, accepts calls a while longer, then has clients go elsewhere and answers what was accepted.

    Raises:
        UserError: not all was answered in time.
    """
    health_service.close()
    await asyncio.sleep(config.shutdown_delay_seconds)
    edge.hold()
    await asyncio.sleep(_HOLD_SECONDS)
    # Before streams end, or they would be opened here again: the first step closes the port and sends GOAWAY.
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
