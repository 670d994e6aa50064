"""A loaded model: a query in, predictions out."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from time import perf_counter, thread_time

import numpy as np

from bertwire_core.errors import first_line
from bertwire_runtime.bundle import Bundle, BundleError, Manifest
from bertwire_runtime.engine import Engine
from bertwire_runtime.layouts import Arrays, arrange, variant_layout
from bertwire_runtime.tokenizer import Encoded, TextTokenizer
from bertwire_server.errors import InvalidRequest
from bertwire_server.model.decision import score
from bertwire_server.model.given import Given
from bertwire_server.model.observer import Observer, Unobserved
from bertwire_server.model.queue import Answer, BatchLimits
from bertwire_server.model.scheduler import Rows, Scheduler, Totals
from bertwire_server.model.sizing import efficient_tokens
from bertwire_server.model.warmup import SHORTEST_TOKENS, warm_up_shapes
from bertwire_server.model.worker import Worker
from bertwire_server.query import Prediction, Query, Text

_log = logging.getLogger(__name__)
# Shorter calls are tokenized on the event loop, some tens of microseconds: a thread's hand-over takes longer.
_INLINE_CHARS = 1000
_CHARS_A_TOKEN = 4.0  # before any text was seen
_SPECIAL_TOKENS = 2
_USUAL_TOKENS = 32
_LEARN = 0.1  # how much of a new sample
# Texts of a call whose logits become scores before other calls get their turn, a millisecond or two.
_TEXTS_A_TURN = 64


class Model:
    """Tokenizer, scheduler and engine of one bundle.

    Attributes:
        manifest: what the bundle says of itself.
        engine: what runs its graph.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        limits: BatchLimits,
        hang_seconds: float,
        observer: Observer = Unobserved(),  # noqa: B008 - it has no state
    ) -> None:
        """Loads the tokenizer; raises `BundleError` where it cannot be read.

        Args:
            bundle: the verified bundle.
            engine: the engine of one of its variants.
            limits: what a batch may hold.
            hang_seconds: a run that takes longer counts as hung, and ends the model.
            observer: told what becomes of texts.
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
        self._worker = Worker("tokenizer")
        self._observer = observer
        self._given = Given(self.manifest, observer)
        self._chars_a_token, self._seconds_a_char = _CHARS_A_TOKEN, 0.0
        self._scheduler = Scheduler(self, limits, self._layout, observer, hang_seconds)

    def warm_up(self) -> None:
        """Finds out how large batches had better be, and runs one of each kind, so that no request pays for it.

        See `efficient_tokens` and `warm_up_shapes`.

        Raises:
            BundleError: the graph does not fit the manifest or the tokenizer; it would fail on requests too.
        """
        longest = self.manifest.max_length
        self._try([SHORTEST_TOKENS])  # a bundle that cannot answer at all is refused soon
        # On a GPU the thread only waits.
        clock = perf_counter if self.engine.provider == "cuda" else thread_time
        tokens = efficient_tokens(self._try, self._limits, min(_USUAL_TOKENS, longest), clock)
        self._limits = replace(self._limits, tokens=tokens)
        self._scheduler.narrow(tokens)
        for lengths in warm_up_shapes(self._limits, longest):
            self._try(lengths)
        self._require_fitting_tokenizer(longest)
        self._learn_cost(longest)

    def _try(self, lengths: Sequence[int]) -> None:
        """Runs texts of so many tokens each; raises `BundleError` where that fails."""
        try:
            logits = self._run(self._filled(lengths))
        except Exception as error:  # onnxruntime's exceptions share no public base
            reason = first_line(error)
            raise BundleError(f"the bundle's graph fails on texts of {lengths[-1]} tokens: {reason}") from error
        self._require_shapes([each.shape for each in logits], lengths)
        if not all(np.isfinite(each).all() for each in logits):
            raise BundleError("the bundle's graph gives logits that are no finite numbers; export it again")

    def _learn_cost(self, longest: int) -> None:
        """Times batches of usual texts once first-time allocations are over, so that first calls are judged right."""
        for texts in (1, min(8, self._limits.texts)):
            lengths = [min(_USUAL_TOKENS, longest)] * texts
            start = perf_counter()
            self._run(self._filled(lengths))
            self._scheduler.cost.add(self._layout.computed(texts, lengths[0], sum(lengths)), perf_counter() - start)

    def _filled(self, lengths: Sequence[int]) -> list[Encoded]:
        last = self._tokenizer.last_id
        return [Encoded([last] * length, [0] * length, truncated=False) for length in lengths]

    def _require_shapes(self, found: list[tuple[int, ...]], lengths: Sequence[int]) -> None:
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

    @property
    def waiting(self) -> int:
        """Texts in the queue."""
        return self._scheduler.waiting

    @property
    def batch_limits(self) -> BatchLimits:
        """What a batch holds at most; how many tokens pay was found at warm-up."""
        return self._limits

    @property
    def totals(self) -> Totals:
        """What has been run so far."""
        return self._scheduler.totals

    @property
    def busy_seconds(self) -> float:
        """Time that the engine has run so far; any thread may ask."""
        return self._scheduler.busy_seconds

    @property
    def healthy(self) -> bool:
        """Whether texts that come in now are answered."""
        return not self._scheduler.ended.is_set()

    def shed(self, remaining: float) -> Callable[[], object]:
        """Refuses a call of which nothing is known yet, as `Door.shed`."""
        return self._scheduler.shed(remaining)

    def patience(self) -> float:
        """For how many seconds arrivals may wait to be looked at; any thread may ask."""
        return self._scheduler.patience()

    def start(self) -> None:
        """Begins to answer; call it on the event loop that will."""
        self._scheduler.start()

    async def ended(self) -> None:
        """Waits until no text is answered any more, for whatever reason."""
        await self._scheduler.ended.wait()

    async def stop(self) -> None:
        """Ends, after the run under way; calls that are not answered fail."""
        await self._scheduler.stop()
        totals = self._scheduler.totals
        if totals.texts:
            padding = 1 - totals.tokens / totals.computed
            name, version = self.manifest.name, self.manifest.version
            counts = totals.texts, totals.batches, padding
            _log.info("%s version %s ran %d texts in %d batches, padding share %.4f", name, version, *counts)
        await self._worker.stop()

    async def predict(self, query: Query) -> list[Prediction]:
        """Answers a query's texts in order.

        Raises:
            InvalidRequest: a text has no token, or more than the model reads where the query refuses that.
            Overloaded, Expired, ModelFailed, NotReady: as `Scheduler.admit` and `Scheduler.submit`.
        """
        deadline = inf if query.deadline is None else query.deadline
        lengths = [_chars(text) for text in query.texts]
        most = self.manifest.max_length
        tokens = sum(min(each / self._chars_a_token + _SPECIAL_TOKENS, most) for each in lengths)
        chars = sum(lengths)
        expected = chars * self._seconds_a_char
        self._scheduler.admit(len(lengths), tokens, query.priority, deadline, expected)
        encoded, seconds = await self._tokenize(query, chars, expected)
        self._observer.tokenized(len(encoded), seconds)
        answers = await self._scheduler.submit(encoded, query.priority, deadline)
        predictions = []
        for text, answer in zip(encoded, answers, strict=True):
            predictions.append(self._prediction(text, answer, seconds))
            if not len(predictions) % _TEXTS_A_TURN:
                await asyncio.sleep(0)
        return predictions

    def _prediction(self, text: Encoded, answer: Answer, tokenize_seconds: float) -> Prediction:
        prediction = Prediction(
            scores=score(self.manifest, answer.logits),
            logits=answer.logits,
            words=text.words,
            token_count=len(text.ids),
            truncated=text.truncated,
            queue_seconds=answer.queue_seconds,
            tokenize_seconds=tokenize_seconds,
            run_seconds=answer.run_seconds,
        )
        self._given.tell(prediction)
        return prediction

    async def _tokenize(self, query: Query, chars: int, expected: float) -> tuple[list[Encoded], float]:
        """The texts' tokens, and the seconds that took; `expected` is what they were expected to be."""
        start = perf_counter()
        if chars <= _INLINE_CHARS:
            encoded = self._encode(query)
        else:
            self._scheduler.expect(len(query.texts), expected)
            try:
                encoded, took = await self._worker.run(self._timed_encode, query)
            finally:
                self._scheduler.expect(-len(query.texts), -expected)
            self._seconds_a_char += _LEARN * (took / chars - self._seconds_a_char)
        self._check(encoded, query)
        if not any(text.truncated for text in encoded):
            tokens = sum(len(text.ids) - _SPECIAL_TOKENS for text in encoded)
            # No text of a kind that nobody writes may spoil it for the others.
            sample = min(max(chars / max(tokens, 1), _CHARS_A_TOKEN / 4), 2 * _CHARS_A_TOKEN)
            self._chars_a_token += 0.1 * _LEARN * (sample - self._chars_a_token)
        return encoded, perf_counter() - start

    def _timed_encode(self, query: Query) -> tuple[list[Encoded], float]:
        start = perf_counter()
        return self._encode(query), perf_counter() - start

    def _encode(self, query: Query) -> list[Encoded]:
        return self._tokenizer.encode(query.texts, query.truncation if query.truncation in ("left", "right") else None)

    def _check(self, encoded: list[Encoded], query: Query) -> None:
        for index, text in enumerate(encoded):
            if not text.ids:
                raise InvalidRequest(f"texts[{index}] has no token that the model knows; send other text")
            if text.truncated and query.truncation == "refuse":
                raise InvalidRequest(
                    f"texts[{index}] has more than the {self.manifest.max_length} tokens that the model reads; "
                    "shorten it, or let it be truncated"
                )

    def lay_out(self, texts: Sequence[Encoded]) -> Arrays:
        """The graph's inputs for a batch."""
        return arrange(texts, self._layout)

    def run(self, arrays: Arrays, texts: Sequence[Encoded]) -> Rows:
        """Runs a batch, blocking: float32 [labels] or [tokens, labels] for each text."""
        return self._layout.by_text(self.engine.run(arrays), [len(text.ids) for text in texts])

    def _run(self, texts: Sequence[Encoded]) -> Rows:
        return self.run(self.lay_out(texts), texts)


def _chars(text: Text) -> int:
    return len(text) if isinstance(text, str) else len(text[0]) + len(text[1])
