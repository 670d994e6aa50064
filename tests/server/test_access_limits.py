"""What one client may take: its rate and its calls in flight."""

import asyncio
from types import SimpleNamespace

import grpc
import pytest

from bertwire_server.access import limits as limits_module
from bertwire_server.access.config import AccessConfig
from bertwire_server.access.gate import Gate
from bertwire_server.access.identity import Limits
from bertwire_server.access.limits import Accounts
from bertwire_server.access.setup import open_access
from bertwire_server.errors import Overloaded
from gated import CLASSIFY, gated, who


class Address:
    """A peer by address alone."""

    def __init__(self, address: str) -> None:
        self._address = address

    def peer(self) -> str:
        """Return the address with a port."""
        return self._address

    def peer_identities(self) -> None:
        """Return no names."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stop the limits' clock; a test moves it by `now`."""
    clock = SimpleNamespace(now=1000.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(limits_module, "time", clock)
    return clock


def test_rate_is_a_bucket(clock: SimpleNamespace) -> None:
    """Admit a burst at once, then a call per 1/rate seconds; refuse with the time to wait, at no cost."""
    account = Accounts().of("a", Limits(rate=4, burst=3))
    for _ in range(3):
        account.spend()
    for passed, left in [(0.0, 0.25), (0.1, 0.15), (0.05, 0.1)]:
        clock.now += passed
        with pytest.raises(Overloaded, match="4 calls per second") as caught:
            account.spend()
        assert caught.value.retry_after == pytest.approx(left)
    clock.now += left
    account.spend()
    clock.now += 1000
    for _ in range(3):
        account.spend()
    with pytest.raises(Overloaded):
        account.spend()


def test_calls_in_flight_are_counted() -> None:
    """Refuse one call too many, without spending the rate, until another ends or fails."""
    gate = Gate(None, None, None, Limits(rate=1, burst=3, concurrency=1))
    peer = Address("ipv4:192.0.2.1:1")

    def failing() -> None:
        with gate.admit(CLASSIFY, {}, peer, str):
            for _ in range(5):
                with pytest.raises(Overloaded, match="1 calls of this client are in flight") as caught:
                    gate.admit(CLASSIFY, {}, peer, str)
                assert caught.value.retry_after
            raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            failing()
    gate.admit(CLASSIFY, {}, peer, str)


def test_addresses_have_accounts_of_their_own() -> None:
    """Limit each address, whatever the port, where nobody says who it is."""
    gate = Gate(None, None, None, Limits(rate=1, burst=1))
    for address in ("ipv4:192.0.2.1:1", "ipv4:192.0.2.2:1", "ipv6:%5B::1%5D:1"):
        named: list[str] = []
        with gate.admit(CLASSIFY, {}, Address(address), named.append), pytest.raises(Overloaded):
            gate.admit(CLASSIFY, {}, Address(address[:-1] + "2"), named.append)
        assert not named


def test_requests_of_a_stream_count() -> None:
    """Spend the same rate with each request of a stream."""
    gate = Gate(None, None, None, Limits(rate=1, burst=3))
    admission = gate.admit(CLASSIFY, {}, Address("unix:"), str)
    with admission:
        admission.spend()
        admission.spend()
        with pytest.raises(Overloaded):
            admission.spend()
    with gate.admit("/grpc.health.v1.Health/Watch", {}, Address("unix:"), str):
        pass


def test_accounts_are_bounded() -> None:
    """Forget the clients unseen for longest, but none that has a call in flight."""
    accounts, limits = Accounts(most=3), Limits(rate=1, burst=1, concurrency=1)
    accounts.of("busy", limits).enter()
    for number in range(20):
        accounts.of(f"busy too {number}", limits).enter()
    for number in range(100):
        accounts.of(str(number), limits).spend()
    with pytest.raises(Overloaded):
        accounts.of("busy", limits).enter()
    with pytest.raises(Overloaded):
        accounts.of("99", limits).spend()
    accounts.of("0", limits).spend()


async def test_server_refuses_one_call_too_many() -> None:
    """Answer RESOURCE_EXHAUSTED over gRPC to the call beyond the limit, and the others."""
    access = open_access(AccessConfig(max_concurrency=2))
    async with gated(access) as server, grpc.aio.insecure_channel(server.address) as channel:
        server.hold.clear()
        calls = [asyncio.create_task(who(channel)) for _ in range(3)]
        done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        error = done.pop().exception()
        assert isinstance(error, grpc.aio.AioRpcError)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        server.hold.set()
        assert [await each for each in waiting] == ["", ""]
