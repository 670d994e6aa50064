"""How much each client takes: a token bucket for its rate, a count of its calls in flight."""

import time
from collections import OrderedDict
from itertools import islice

from bertwire_server.access.identity import Limits
from bertwire_server.errors import Overloaded

# Clients whose account is kept; each takes some 200 bytes.
_MAX_CLIENTS = 16_384
_LOOKED_AT = 16
# When a client with too many calls in flight may try again, in seconds: nobody knows when one of them ends.
_BUSY_RETRY = 0.1


class Account:
    """What one client has taken.

    Attributes:
        limits: its limits.
        tokens: calls that it may make at once, as of `stamp`.
        stamp: seconds by the monotonic clock.
        calls: its calls in flight.
    """

    __slots__ = ("calls", "limits", "stamp", "tokens")

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits, self.tokens, self.stamp, self.calls = limits, limits.burst, now, 0

    def spend(self) -> None:
        """Counts one call, or one request of a stream, against the rate; raises `Overloaded` where it is used up."""
        limits = self.limits
        if not limits.rate:
            return
        now = time.monotonic()
        tokens = self.tokens + (now - self.stamp) * limits.rate
        self.tokens, self.stamp = (tokens if tokens < limits.burst else limits.burst), now
        if self.tokens < 1:
            reason = f"more than the {limits.rate:g} calls per second that this client may make; slow down"
            raise Overloaded(reason, retry_after=(1 - self.tokens) / limits.rate)
        self.tokens -= 1

    def enter(self) -> None:
        """Counts a call that begins; raises `Overloaded` where it is one too many."""
        most = self.limits.concurrency
        if most and self.calls >= most:
            raise Overloaded(f"{most} calls of this client are in flight, the most it may have", _BUSY_RETRY)
        self.spend()
        self.calls += 1

    def leave(self) -> None:
        """Counts a call that has ended."""
        self.calls -= 1


class Accounts:
    """The accounts of all clients, of which those least recently seen are forgotten when there are too many."""

    def __init__(self, most: int = _MAX_CLIENTS) -> None:
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._most = most

    def of(self, client: str, limits: Limits) -> Account:
        """The account of a client, with the limits that it has now."""
        account = self._accounts.get(client)
        if account is None:
            self._forget_some()
            account = self._accounts[client] = Account(limits, time.monotonic())
            return account
        self._accounts.move_to_end(client)
        if account.limits is not limits:
            # The file was read again; what was saved up under other limits counts as far as the new burst goes.
            account.tokens = limits.burst if not account.limits.rate else account.tokens
            account.limits = limits
        return account

    def _forget_some(self) -> None:
        # One with calls in flight stays, or it could have as many again.
        if len(self._accounts) >= self._most:
            for client in list(islice(self._accounts, _LOOKED_AT)):
                if self._accounts[client].calls:
                    self._accounts.move_to_end(client)  # or it would be looked at each time
                else:
                    del self._accounts[client]
