"""A loaded model: tokenizing, scheduling, predictions."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import inf
from threading import Event
from time import perf_counter
from typing import Literal, TypeVar

from bertwire_runtime.bundle import Manifest
from bertwire_runtime.engine import Engine
from bertwire_runtime.output import Output
from bertwire_runtime.predictor import Predictor
from bertwire_runtime.spans import Span
from bertwire_runtime.tokenizer import Encoded, Text, Token, means_by_text
from bertwire_server.errors import Expired, InvalidRequest
from bertwire_server.model.cache import Cache
from bertwire_server.model.observer import Observer, Unobserved
from bertwire_server.model.pace import Pace
from bertwire_server.model.runs import Totals
from bertwire_server.model.scheduler import Scheduler
from bertwire_server.model.waiting import Result
from bertwire_server.model.warmup import BatchLimits, warm_up
from bertwire_server.query import Prediction, Query
from bertwire_server.threads import BEHIND, worker

T = TypeVar("T")
_log = logging.getLogger(__name__)
# Most characters of a call that are tokenized on the event loop, some tens of microseconds on a CPU. Doubled, other
# calls wait longer; halved, more calls pay for the thread switch.
_INLINE_CHARS = 1000
# Initial estimate of characters per token, and its learning rate per call.
_CHARS_PER_TOKEN, _LEARNING_RATE = 4.0, 0.01
_SPECIAL_TOKENS = 2
# Tokens of a text that are made, with their messages, in the time in which one is run: 4.5 against 100 microseconds of
# one thread for MiniLM in int8. Halved, long texts are refused that would be in time.
_MADE_A_RUN = 20
# Texts converted to predictions between yields to the event loop, one to two milliseconds.
_TEXTS_PER_TURN = 64


@dataclass(frozen=True, slots=True)
class Serving:
    """Serving settings of a model.

    Attributes:
        batch_seconds: longest batch run; None: 0.04 on the CPU, 0.01 on CUDA.
        room: most queued texts.
        hang_seconds: run time after which the model counts as hung and ends.
        cache_bytes: memory of the cache; 0: none.
    """

    batch_seconds: float | None = None
    room: int = 8192
    hang_seconds: float = 60.0
    cache_bytes: int = 0


class Model:
    """Predictor and scheduler of a bundle."""

    def __init__(self, predictor: Predictor, serving: Serving, observer: Observer = Unobserved()) -> None:  # noqa: B008 - stateless
        """Create the model; nothing runs before `warm_up`.

        Args:
            predictor: the variant to serve.
            serving: the settings.
            observer: notified of what happens to texts.
        """
        self.manifest: Manifest = predictor.manifest
        self.predictor = predictor
        self._observer = observer
        self._cuda = predictor.engine.provider == "cuda"
        self._limits = BatchLimits.of(predictor.engine.provider)
        self._pace = Pace(serving.batch_seconds or self._limits.seconds, self._limits.tokens)
        self._scheduler = Scheduler(
            predictor.logits,
            predictor.engine.layout,
            self._pace,
            most_texts=self._limits.texts,
            room=serving.room,
            hang_seconds=serving.hang_seconds,
            niceness=0 if self._cuda else BEHIND,
            observer=observer,
        )
        self._tokenizing = worker("tokenizer")
        self._chars_per_token = _CHARS_PER_TOKEN
        variance = _batch_variance(self.engine)
        self._cache = Cache(serving.cache_bytes) if serving.cache_bytes and variance == 0 else None

    @property
    def engine(self) -> Engine:
        """Return the predictor's engine."""
        return self.predictor.engine

    @property
    def waiting(self) -> int:
        """Return the texts in the queue or being tokenized for it."""
        return self._scheduler.waiting

    @property
    def batch_limits(self) -> BatchLimits:
        """Return the limits of a batch."""
        return self._limits

    @property
    def totals(self) -> Totals:
        """Return the counts of runs so far."""
        return self._scheduler.totals

    @property
    def busy_seconds(self) -> float:
        """Return the seconds of runs so far; thread-safe."""
        return self._scheduler.busy_seconds

    @property
    def healthy(self) -> bool:
        """Whether new texts are answered."""
        return not self._scheduler.ended.is_set()

    def warm_up(self) -> None:
        """Run batches of every shape, blocking, to allocate memory and learn the pace before the first request.

        Raises:
            BundleError: the graph does not fit the manifest or the tokenizer.
        """
        self._limits = self._scheduler.call(lambda: warm_up(self.predictor, self._pace, self._limits))

    def start(self) -> None:
        """Start the scheduler on the running event loop."""
        self._scheduler.start()

    async def ended(self) -> None:
        """Wait until the scheduler has ended, for whatever reason."""
        await self._scheduler.ended.wait()

    async def stop(self) -> None:
        """Stop after the running batch; unanswered calls fail."""
        await self._scheduler.stop()
        totals = self._scheduler.totals
        if totals.texts:
            padding = 1 - totals.tokens / totals.computed
            name, version = self.manifest.name, self.manifest.version
            counts = totals.texts, totals.batches, padding
            _log.info("%s version %s ran %d texts in %d batches, padding share %.4f", name, version, *counts)
        self._tokenizing.shutdown(wait=False)

    async def predict(self, query: Query) -> list[Prediction]:
        """Predict a query's texts in order.

        Raises:
            InvalidRequest: a text has no token, or exceeds the token limit where the query refuses truncation.
            Overloaded, Expired, ModelFailed, NotReady: as `Scheduler.admit` and `Scheduler.submit`.
        """
        deadline = inf if query.deadline is None else query.deadline
        lengths = [_chars(text) for text in query.texts]
        self._admit(query, deadline)
        start = perf_counter()
        encoded = await self._tokenize(query, sum(lengths))
        seconds = perf_counter() - start
        self._observer.tokenized(len(encoded), seconds)
        results = await self._results(query, encoded, deadline)
        predictions = []
        for text, result in zip(encoded, results, strict=True):
            predictions.append(self._prediction(query, text, result, seconds))
            if not len(predictions) % _TEXTS_PER_TURN:
                await asyncio.sleep(0)
        return predictions

    async def words(self, query: Query) -> list[list[Span]]:
        """Return the words that the model reads of a query's only text, or of both texts of a pair.

        Raises:
            Overloaded, Expired, NotReady: as `Scheduler.admit`.
        """
        (text,) = query.texts
        self._admit(query, inf if query.deadline is None else query.deadline)
        return await self._aside(partial(self.predictor.words, text, _side(query)), query)

    async def tokens(self, query: Query, make: Callable[[Iterator[Token]], T], *, special: bool) -> T:
        """Return what `make` makes of the tokens of a query's only text, see `Predictor.tokens`.

        `make` runs where the text is tokenized, and ends early once the deadline passed or the call was cancelled.

        Raises:
            Overloaded, Expired, NotReady: as `Scheduler.admit`.
        """
        (text,) = query.texts
        assert isinstance(text, str)  # noqa: S101 - no protocol asks for those of a pair
        deadline = inf if query.deadline is None else query.deadline
        made = _chars(text) / self._chars_per_token + _SPECIAL_TOKENS
        self._scheduler.admit(1, made / _MADE_A_RUN, query.priority, deadline)
        ended = Event()
        tokens = _until(self.predictor.tokens(text, special=special), deadline, ended)
        try:
            return await self._aside(partial(make, tokens), query)
        finally:
            ended.set()

    def _admit(self, query: Query, deadline: float) -> None:
        most = self.manifest.most_tokens
        tokens = sum(min(_chars(each) / self._chars_per_token + _SPECIAL_TOKENS, most) for each in query.texts)
        self._scheduler.admit(len(query.texts), tokens, query.priority, deadline)

    async def _aside(self, work: Callable[[], T], query: Query) -> T:
        """Return what `work` with the tokenizer returns: in a thread of its own where that takes long."""
        if sum(map(_chars, query.texts)) <= _INLINE_CHARS and not self._cuda:
            return work()
        self._scheduler.expect(len(query.texts))
        try:
            return await asyncio.get_running_loop().run_in_executor(self._tokenizing, work)
        finally:
            self._scheduler.expect(-len(query.texts))

    def _prediction(self, query: Query, text: Encoded, result: Result, tokenize_seconds: float) -> Prediction:
        output = self.predictor.output(text, result.logits)
        if query.counted:
            self._count(output)
        return Prediction(output, result.queue_seconds, tokenize_seconds, result.run_seconds)

    def _count(self, output: Output) -> None:
        if output.abstained:
            self._observer.abstained()
        for label, score in self.predictor.head.given(self.manifest, output):
            self._observer.predicted(label, score)
        for rule in output.rules:
            self._observer.matched(rule)

    async def _results(self, query: Query, encoded: list[Encoded], deadline: float) -> list[Result]:
        cache = self._cache
        if cache is None:
            return await self._run(encoded, range(len(encoded)), query, deadline)
        keys = [cache.key(query.client, text) for text in encoded]
        known = [cache.get(key) for key in keys]
        missing = [place for place, logits in enumerate(known) if logits is None]
        self._observer.cached(len(encoded) - len(missing), len(missing))
        texts = [encoded[place] for place in missing]
        ran = iter(await self._run(texts, missing, query, deadline) if missing else ())
        results = [next(ran) if logits is None else Result(logits, 0.0, 0.0) for logits in known]
        for key, result in zip(keys, results, strict=True):
            cache.put(key, result.logits)
        return results

    async def _run(self, encoded: list[Encoded], places: Sequence[int], query: Query, deadline: float) -> list[Result]:
        """Return the result of each text, at `places` of the query; chunks are scheduled as texts of their own."""
        if self.manifest.chunks == 1:
            return await self._scheduler.submit(encoded, query.priority, deadline, places)
        chunks = [(chunk, place) for place, text in zip(places, encoded, strict=True) for chunk in text.chunks()]
        results = await self._scheduler.submit(
            [chunk for chunk, _ in chunks], query.priority, deadline, [place for _, place in chunks]
        )
        logits, ran = means_by_text(encoded, (each.logits for each in results)), iter(results)
        parts = [list(islice(ran, max(len(text.ends), 1))) for text in encoded]
        return [
            Result(mean, max(each.queue_seconds for each in of), max(each.run_seconds for each in of))
            for mean, of in zip(logits, parts, strict=True)
        ]

    async def _tokenize(self, query: Query, chars: int) -> list[Encoded]:
        encoded = await self._aside(partial(self.predictor.encode, query.texts, _side(query)), query)
        self._check(encoded, query)
        if not any(text.truncated for text in encoded):
            tokens = sum(len(text.ids) - _SPECIAL_TOKENS for text in encoded)
            # Bounded, so that unusual texts do not distort the estimate for others.
            sample = min(max(chars / max(tokens, 1), _CHARS_PER_TOKEN / 4), 2 * _CHARS_PER_TOKEN)
            self._chars_per_token += _LEARNING_RATE * (sample - self._chars_per_token)
        return encoded

    def _check(self, encoded: Sequence[Encoded], query: Query) -> None:
        for index, text in enumerate(encoded):
            if not text.ids:
                raise InvalidRequest(f"texts[{index}] has no token that the model knows; send other text")
            if text.truncated and query.truncation == "refuse":
                raise InvalidRequest(
                    f"texts[{index}] has more than the {self.manifest.reads} that the model reads; "
                    "shorten it, or let it be truncated"
                )


def _until(tokens: Iterator[Token], deadline: float, ended: Event) -> Iterator[Token]:
    """Yield the tokens; raise `Expired` once nobody waits for them, and before any work where that is so already."""
    while not ended.is_set() and perf_counter() < deadline:
        try:
            yield next(tokens)
        except StopIteration:
            return
    raise Expired("the deadline passed before all tokens were made; allow more time")


def _side(query: Query) -> Literal["left", "right"] | None:
    return query.truncation if query.truncation in ("left", "right") else None


def _chars(text: Text) -> int:
    return len(text) if isinstance(text, str) else len(text[0]) + len(text[1])


def _batch_variance(engine: Engine) -> float:
    """Return the batch variance proven on the provider; infinite where none was."""
    proofs = engine.variant.proofs
    return next((each.batch_variance for each in proofs if each.provider == engine.provider), inf)
