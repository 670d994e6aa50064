"""Rate limits of clients by token buckets, and limits of their calls in flight."""

import time
from collections import OrderedDict
from itertools import islice

from bertwire_server.access.identity import Limits
from bertwire_server.errors import Overloaded

# Accounts that are kept, of some 200 bytes each. Halved, more clients than that get a full bucket again early; doubled,
# they take twice the memory.
_MAX_CLIENTS = 16_384
# Oldest accounts that are tried for eviction at once. Halved, more accounts than `_MAX_CLIENTS` may stay; doubled, the
# first call of a client may take twice as long.
_LOOKED_AT = 16
# Seconds after which a client with too many calls in flight should try again, since the end of a call is unknown.
# Halved, it is refused more often; doubled, it loses more time.
_BUSY_RETRY = 0.1


class Account:
    """Token bucket and calls in flight of one client.

    Attributes:
        limits: of the client.
        tokens: in the bucket at `stamp`, in calls.
        stamp: seconds of the monotonic clock.
        calls: in flight.
    """

    __slots__ = ("calls", "limits", "stamp", "tokens")

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits, self.tokens, self.stamp, self.calls = limits, limits.burst, now, 0

    def spend(self) -> None:
        """Take a token for a call or a request of a stream; raise `Overloaded` where there is none."""
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
        """Count a call that begins; raise `Overloaded` where it exceeds a limit."""
        most = self.limits.concurrency
        if most and self.calls >= most:
            raise Overloaded(f"{most} calls of this client are in flight, the most it may have", _BUSY_RETRY)
        self.spend()
        self.calls += 1

    def leave(self) -> None:
        """Count a call that has ended."""
        self.calls -= 1


class Accounts:
    """Accounts of all clients; beyond a maximum the least recently used are evicted."""

    def __init__(self, most: int = _MAX_CLIENTS) -> None:
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._most = most

    def of(self, client: str, limits: Limits) -> Account:
        """Return the account of a client, with its current limits."""
        account = self._accounts.get(client)
        if account is None:
            self._forget_some()
            account = self._accounts[client] = Account(limits, time.monotonic())
            return account
        self._accounts.move_to_end(client)
        if account.limits is not limits:
            # The limits have changed; tokens from before stay, up to the new burst.
            account.tokens = limits.burst if not account.limits.rate else account.tokens
            account.limits = limits
        return account

    def _forget_some(self) -> None:
        # An account with calls in flight stays, or the client could have as many again.
        if len(self._accounts) >= self._most:
            for client in list(islice(self._accounts, _LOOKED_AT)):
                if self._accounts[client].calls:
                    self._accounts.move_to_end(client)  # else it would be tried each time
                else:
                    del self._accounts[client]
