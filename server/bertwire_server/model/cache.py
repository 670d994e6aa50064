"""LRU cache of logits, for models whose logits do not depend on the batch."""

from array import array
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from bertwire_runtime.tokenizer import Encoded

# Bytes of an entry besides key and logits: 220 to 250 by tracemalloc, of 5,000 and 50,000 entries. Halved, the cache
# exceeds its memory limit.
_ENTRY_BYTES = 250


class Cache:
    """An LRU cache of logits. Not thread-safe.

    Attributes:
        bytes: memory in use.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._entries: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self.bytes = 0

    def key(self, client: str, text: Encoded) -> bytes:
        """Return a text's key; it includes the client, so that hits reveal nothing of other clients' texts."""
        ids = array("i", text.ids)
        segments = array("b", text.type_ids).tobytes() if any(text.type_ids) else b""
        return b"%d %d %b%b%b" % (len(ids), len(segments), ids.tobytes(), segments, client.encode())

    def get(self, key: bytes) -> NDArray[np.float32] | None:
        """Return a text's logits, float32 [labels] or [tokens, labels]; None on a miss."""
        logits = self._entries.get(key)
        if logits is not None:
            self._entries.move_to_end(key)
        return logits

    def put(self, key: bytes, logits: NDArray[np.float32]) -> None:
        """Store a text's logits unless they exceed the whole cache."""
        size = len(key) + logits.nbytes + _ENTRY_BYTES
        if key in self._entries or size > self._most:
            return
        # A view would keep the whole batch's logits alive.
        self._entries[key] = logits.copy()
        self.bytes += size
        while self.bytes > self._most:
            dropped, values = self._entries.popitem(last=False)
            self.bytes -= len(dropped) + values.nbytes + _ENTRY_BYTES
