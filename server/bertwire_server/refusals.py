"""How calls are refused: at once, but in a flood of refusals each a little later."""

import asyncio
import logging
from collections import deque

from bertwire_server.status import fail
from bertwire_server.transport.context import Context

_log = logging.getLogger(__name__)
# Callers that call again at once are as fast as they are refused, and would take all of the processor. From so many
# refusals in a window on each is held back for a while, which makes a caller wait. It comes within 20 ms all the same,
# or as DEADLINE_EXCEEDED to those who do not wait so long.
_FLOOD, _WINDOW_SECONDS = 200, 0.1
_HOLD_SECONDS = 0.012


class Refusals:
    """Ends refused calls with their status. Belongs to one event loop."""

    def __init__(self) -> None:
        self._held = deque[tuple[float, Context, str, Exception]]()
        self._timer: asyncio.TimerHandle | None = None
        self._begun, self._count, self._before = 0.0, 0, 0

    def refuse(self, context: Context, method: str, error: Exception) -> None:
        """Ends a call that has no task yet with the status of `error`, now or soon."""
        now = context.loop.time()
        if not (seconds := self._hold(now)):
            fail(context, method, error)
            return
        # Without its traceback, whose frames would be kept.
        self._held.append((now + seconds, context, method, error.with_traceback(None)))
        if self._timer is None:
            self._timer = context.loop.call_later(seconds, self._release)

    async def refuse_in_task(self, context: Context, method: str, error: Exception) -> None:
        """The same for a call with a task, which ends with it."""
        if seconds := self._hold(context.loop.time()):
            await asyncio.sleep(seconds)
        fail(context, method, error)

    def _hold(self, now: float) -> float:
        """Counts a refusal; for how many seconds it is held."""
        if now - self._begun >= _WINDOW_SECONDS:
            self._before = self._count if now - self._begun < 2 * _WINDOW_SECONDS else 0
            self._begun, self._count = now, 0
        self._count += 1
        return _HOLD_SECONDS if max(self._before, self._count) >= _FLOOD else 0.0

    def _release(self) -> None:
        loop = self._held[0][1].loop
        now, self._timer = loop.time(), None
        while self._held and self._held[0][0] <= now:
            _, context, method, error = self._held.popleft()
            try:
                fail(context, method, error)
            except Exception:  # the others have to be told all the same
                _log.exception("%s could not be refused", method)
        if self._held:
            # Several at once: each waking of the loop costs more than the refusal of one call.
            self._timer = loop.call_later(_HOLD_SECONDS / 4, self._release)
