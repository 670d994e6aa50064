"""gRPC's channelz: what its core knows of the process's connections and calls.

Not the servicer that comes with grpcio-channelz: that one knows only the fields of its own release, and answers
INTERNAL where the core, which is another package, says more.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # the one way to the core's channelz
from grpc_channelz.v1 import channelz_pb2 as pb
from grpc_channelz.v1.channelz_pb2_grpc import ChannelzServicer

from bertwire_server.errors import RequestError
from bertwire_server.transport.context import Context

Answer = TypeVar("Answer", bound=Message)


class NothingOfThatNumber(RequestError):
    """The core has no such server, channel or socket (any more)."""

    code = grpc.StatusCode.NOT_FOUND


class Channelz(ChannelzServicer):  # type: ignore[misc]  # grpcio-channelz has no types
    """Answers by the core of gRPC."""

    async def GetTopChannels(self, request: Any, context: Context) -> Any:  # noqa: ANN401, ARG002, N802
        """The channels that this process has opened."""
        return _ask(pb.GetTopChannelsResponse(), cygrpc.channelz_get_top_channels, request.start_channel_id)

    async def GetServers(self, request: Any, context: Context) -> Any:  # noqa: ANN401, ARG002, N802
        """The process's servers: calls begun and ended, ports."""
        return _ask(pb.GetServersResponse(), cygrpc.channelz_get_servers, request.start_server_id)

    async def GetServer(self, request: Any, context: Context) -> Any:  # noqa: ANN401, ARG002, N802
        """One server."""
        return _ask(pb.GetServerResponse(), cygrpc.channelz_get_server, request.server_id)

    async def GetServerSockets(self, request: Any, context: Context) -> Any:  # noqa: ANN401, ARG002, N802
        """The connections of a server."""
        return _ask(
            pb.GetServerSocketsResponse(),
            cygrpc.channelz_get_server_sockets,
            request.server_id,
            request.start_socket_id,
            request.max_results,
        )

    async def GetChannel(self, request: Any, context: Context) -> Any:  # noqa: ANN401, ARG002, N802
        """One channel."""
        return _ask(pb.GetChannelResponse(), cygrpc.channelz_get_channel, request.channel_id)

    async def GetSubchannel(self, request: Any, context: Context) -> Any:  # noqa: ANN401, ARG002, N802
        """One subchannel."""
        return _ask(pb.GetSubchannelResponse(), cygrpc.channelz_get_subchannel, request.subchannel_id)

    async def GetSocket(self, request: Any, context: Context) -> Any:  # noqa: ANN401, ARG002, N802
        """One connection: its ends, its streams, its messages."""
        return _ask(pb.GetSocketResponse(), cygrpc.channelz_get_socket, request.socket_id)


def _ask(answer: Answer, question: Callable[..., str], *numbers: int) -> Answer:
    try:
        found = question(*numbers)
    except ValueError as error:
        raise NothingOfThatNumber(str(error)) from error
    return json_format.Parse(found, answer, ignore_unknown_fields=True)
