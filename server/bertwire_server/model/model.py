"""A loaded model: a query in, predictions out."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from bertwire_client.errors import first_line
from bertwire_export.bundle import Bundle, BundleError, Manifest
from bertwire_export.bundle.layouts import arrange, variant_layout
from bertwire_server.errors import InvalidRequest
from bertwire_server.model.decision import score
from bertwire_server.model.engine import Engine
from bertwire_server.model.scheduler import BatchLimits, Scheduler
from bertwire_server.model.tokenizer import Encoded, TextTokenizer
from bertwire_server.query import Prediction, Query

_log = logging.getLogger(__name__)


class Model:
    """Tokenizer, scheduler and engine of one bundle.

    Attributes:
        manifest: what the bundle says of itself.
        engine: what runs its graph.
    """

    def __init__(self, bundle: Bundle, engine: Engine, limits: BatchLimits) -> None:
        """Loads the tokenizer; raises `BundleError` where it cannot be read.

        Args:
            bundle: the verified bundle.
            engine: the engine of one of its variants.
            limits: what a batch may hold.
        """
        self.manifest: Manifest = bundle.manifest
        self.engine = engine
        self._limits = limits
        self._layout = variant_layout(self.manifest, engine.variant)
        content = bundle.read(self.manifest.tokenizer)
        try:
            self._tokenizer = TextTokenizer(
                content, self.manifest.max_length, self.manifest.truncation_side, words=self._layout.by_token
            )
        except ValueError as error:
            raise BundleError(f"{bundle.path}: {self.manifest.tokenizer.name} is {error}") from error
        self._threads = ThreadPoolExecutor(1, "tokenizer")
        self._tokenizing = 0
        self._scheduler = Scheduler(self._run, limits, self._layout)

    def warm_up(self) -> None:
        """Runs the smallest and the largest batch, so that no request pays for first-time allocations.

        Raises:
            BundleError: the graph does not fit the manifest or the tokenizer; it would fail on requests too.
        """
        longest = self.manifest.max_length
        largest = max(1, min(self._limits.texts, self._limits.tokens // longest))
        for lengths in ([3], [3, longest], [longest] * largest):
            try:
                logits = self._run([_filled(tokens, self._tokenizer.last_id) for tokens in lengths])
            except Exception as error:  # onnxruntime's exceptions share no public base
                reason = first_line(error)
                raise BundleError(f"the bundle's graph fails on texts of {lengths[-1]} tokens: {reason}") from error
            self._require_shapes([each.shape for each in logits], lengths)
            if not all(np.isfinite(each).all() for each in logits):
                raise BundleError("the bundle's graph gives logits that are no finite numbers; export it again")
        self._require_fitting_tokenizer(longest)

    def _require_shapes(self, found: list[tuple[int, ...]], lengths: list[int]) -> None:
        labels = len(self.manifest.labels)
        expected = [(length, labels) if self._layout.by_token else (labels,) for length in lengths]
        if found != expected:
            raise BundleError(
                f"the bundle's graph gives {len(found)} texts logits of the shape {found[0]}, not {len(expected)} "
                f"of {expected[0]}; export it again"
            )

    def _require_fitting_tokenizer(self, longest: int) -> None:
        """Runs what the tokenizer makes of a short and of a too long text."""
        words = ["a", "a " * (2 * longest)]
        try:
            texts = self._tokenizer.encode([(word, word) for word in words] if self.manifest.text_pairs else words)
            fits = all(1 <= len(text.ids) <= longest for text in texts)
            logits = self._run(texts) if fits else []
        except Exception as error:  # tokenizers and onnxruntime raise exceptions without a public base
            raise BundleError(f"the bundle's tokenizer and graph do not fit: {first_line(error)}") from error
        if not logits:
            raise BundleError(
                "the bundle's tokenizer gives texts no tokens, or more than the model reads; export it again"
            )

    def start(self) -> None:
        """Begins to answer; call it on the event loop that will."""
        self._scheduler.start()

    async def ended(self) -> None:
        """Waits until no text is answered any more, for whatever reason."""
        await self._scheduler.ended.wait()

    async def stop(self) -> None:
        """Ends after the batch under way."""
        await self._scheduler.stop()
        totals = self._scheduler.totals
        if totals.texts:
            padding = 1 - totals.tokens / totals.computed
            _log.info("ran %d texts in %d batches, padding share %.4f", totals.texts, totals.batches, padding)
        await asyncio.to_thread(self._threads.shutdown)

    async def predict(self, query: Query) -> list[Prediction]:
        """Answers a query's texts in order.

        Raises:
            InvalidRequest: a text has no token, or more than the model reads where the query refuses that.
            Overloaded, Expired, ModelFailed, NotReady: as `Scheduler.submit`.
        """
        # Texts that wait for the tokenizer take room in the queue too, or its bound would be none.
        self._scheduler.require_room(self._tokenizing + len(query.texts))
        self._tokenizing += len(query.texts)
        try:
            loop = asyncio.get_running_loop()
            encoded, seconds = await loop.run_in_executor(self._threads, self._encode, query)
        finally:
            self._tokenizing -= len(query.texts)
        self._check(encoded, query)
        answers = await self._scheduler.submit(encoded)
        return [
            Prediction(
                scores=score(self.manifest, answer.logits),
                logits=answer.logits,
                words=text.words,
                token_count=len(text.ids),
                truncated=text.truncated,
                queue_seconds=answer.queue_seconds,
                tokenize_seconds=seconds,
                run_seconds=answer.run_seconds,
            )
            for text, answer in zip(encoded, answers, strict=True)
        ]

    def _encode(self, query: Query) -> tuple[list[Encoded], float]:
        """The texts' tokens, and the seconds that took."""
        start = perf_counter()
        side = query.truncation if query.truncation in ("left", "right") else None
        return self._tokenizer.encode(query.texts, side), perf_counter() - start

    def _check(self, encoded: list[Encoded], query: Query) -> None:
        for index, text in enumerate(encoded):
            if not text.ids:
                raise InvalidRequest(f"texts[{index}] has no token that the model knows; send other text")
            if text.truncated and query.truncation == "refuse":
                raise InvalidRequest(
                    f"texts[{index}] has more than the {self.manifest.max_length} tokens that the model reads; "
                    "shorten it, or let it be truncated"
                )

    def _run(self, texts: Sequence[Encoded]) -> list[NDArray[np.float32]]:
        return self._layout.by_text(self.engine.run(arrange(texts, self._layout)), [len(text.ids) for text in texts])


def _filled(tokens: int, token_id: int) -> Encoded:
    return Encoded([token_id] * tokens, [0] * tokens, truncated=False)
