"""Logits of texts that were answered before, for models whose answers do not depend on their batch."""

from array import array
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from bertwire_runtime.tokenizer import Encoded

# Bytes that an entry takes beside its key and its logits, measured with tracemalloc. Halved, the cache takes more
# memory than it was given.
_ENTRY_BYTES = 450


class Cache:
    """The least recently used answers go first. One thread at a time.

    Attributes:
        bytes: what it holds.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._entries: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self.bytes = 0

    def key(self, client: str, text: Encoded) -> bytes:
        """Return what tells a text from every other: by client, so that nobody learns what others have asked."""
        ids = array("i", text.ids)
        segments = array("b", text.type_ids).tobytes() if any(text.type_ids) else b""
        return b"%d %d %b%b%b" % (len(ids), len(segments), ids.tobytes(), segments, client.encode())

    def get(self, key: bytes) -> NDArray[np.float32] | None:
        """Return a text's logits, float32 [labels] or [tokens, labels]; None where they are not known."""
        logits = self._entries.get(key)
        if logits is not None:
            self._entries.move_to_end(key)
        return logits

    def put(self, key: bytes, logits: NDArray[np.float32]) -> None:
        """Keep a text's logits, as far as there is room for them at all."""
        size = len(key) + logits.nbytes + _ENTRY_BYTES
        if key in self._entries or size > self._most:
            return
        # A view would keep the logits of its whole batch.
        self._entries[key] = logits.copy()
        self.bytes += size
        while self.bytes > self._most:
            dropped, values = self._entries.popitem(last=False)
            self.bytes -= len(dropped) + values.nbytes + _ENTRY_BYTES
