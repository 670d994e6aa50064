"""A loaded model: a query in, predictions out."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from time import perf_counter

from bertwire_runtime.bundle import Manifest
from bertwire_runtime.engine import Engine
from bertwire_runtime.predictor import Predictor
from bertwire_runtime.tokenizer import Encoded, Text
from bertwire_server.errors import InvalidRequest
from bertwire_server.model.cache import Cache
from bertwire_server.model.observer import Observer, Unobserved
from bertwire_server.model.pace import Pace
from bertwire_server.model.queue import Result
from bertwire_server.model.scheduler import Scheduler, Totals
from bertwire_server.model.warmup import BatchLimits, warm_up
from bertwire_server.query import Prediction, Query
from bertwire_server.threads import BEHIND, worker

_log = logging.getLogger(__name__)
# Characters of a call up to which it is tokenized on the event loop of a CPU, some tens of microseconds. Doubled,
# other calls wait longer for their turn; halved, more calls pay for the hand-over to a thread.
_INLINE_CHARS = 1000
# Characters a token, before any text was seen, and how much of each further text's figure counts.
_CHARS_A_TOKEN, _LEARN = 4.0, 0.01
_SPECIAL_TOKENS = 2
# Texts of a call whose logits become scores before other calls get their turn, a millisecond or two.
_TEXTS_A_TURN = 64


@dataclass(frozen=True, slots=True)
class Serving:
    """How a model is served.

    Attributes:
        batch_seconds: how long a batch should run at most; None: 0.04 on the CPU, 0.01 on CUDA.
        room: most texts that wait.
        hang_seconds: a run that takes longer counts as hung, and ends the model.
        cache_bytes: memory for answers that are kept; 0 keeps none.
    """

    batch_seconds: float | None = None
    room: int = 8192
    hang_seconds: float = 60.0
    cache_bytes: int = 0


class Model:
    """Predictor and scheduler of one bundle.

    Attributes:
        manifest: what the bundle says of itself.
        predictor: tokenizes, runs and decides.
    """

    def __init__(self, predictor: Predictor, serving: Serving, observer: Observer = Unobserved()) -> None:  # noqa: B008 - stateless
        """Prepare; nothing is run yet.

        Args:
            predictor: the variant that answers.
            serving: how.
            observer: told what becomes of texts.
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
        self._chars_a_token = _CHARS_A_TOKEN
        variance = _batch_variance(self.engine)
        self._cache = Cache(serving.cache_bytes) if serving.cache_bytes and variance == 0 else None

    @property
    def engine(self) -> Engine:
        """What runs the graph."""
        return self.predictor.engine

    @property
    def waiting(self) -> int:
        """Texts in the queue."""
        return self._scheduler.waiting

    @property
    def batch_limits(self) -> BatchLimits:
        """What a batch holds at most."""
        return self._limits

    @property
    def totals(self) -> Totals:
        """What has been run so far."""
        return self._scheduler.totals

    @property
    def busy_seconds(self) -> float:
        """Time that the model has run so far; any thread may ask."""
        return self._scheduler.busy_seconds

    @property
    def healthy(self) -> bool:
        """Whether texts that come in now are answered."""
        return not self._scheduler.ended.is_set()

    def warm_up(self) -> None:
        """Run a batch of each kind, blocking, so that no request pays for first runs; learn how fast they are.

        Raises:
            BundleError: the graph does not fit the manifest or the tokenizer; it would fail on requests too.
        """
        self._limits = self._scheduler.call(lambda: warm_up(self.predictor, self._pace, self._limits))

    def start(self) -> None:
        """Begin to answer; call it on the event loop that will."""
        self._scheduler.start()

    async def ended(self) -> None:
        """Wait until no text is answered any more, for whatever reason."""
        await self._scheduler.ended.wait()

    async def stop(self) -> None:
        """End after the run under way; calls that are not answered fail."""
        await self._scheduler.stop()
        totals = self._scheduler.totals
        if totals.texts:
            padding = 1 - totals.tokens / totals.computed
            name, version = self.manifest.name, self.manifest.version
            counts = totals.texts, totals.batches, padding
            _log.info("%s version %s ran %d texts in %d batches, padding share %.4f", name, version, *counts)
        self._tokenizing.shutdown(wait=False)

    async def predict(self, query: Query) -> list[Prediction]:
        """Answer a query's texts in order.

        Raises:
            InvalidRequest: a text has no token, or more than the model reads where the query refuses that.
            Overloaded, Expired, ModelFailed, NotReady: as `Scheduler.admit` and `Scheduler.submit`.
        """
        deadline = inf if query.deadline is None else query.deadline
        lengths = [_chars(text) for text in query.texts]
        most = self.manifest.max_length
        tokens = sum(min(each / self._chars_a_token + _SPECIAL_TOKENS, most) for each in lengths)
        self._scheduler.admit(len(lengths), tokens, query.priority, deadline)
        start = perf_counter()
        encoded = await self._tokenize(query, sum(lengths))
        seconds = perf_counter() - start
        self._observer.tokenized(len(encoded), seconds)
        results = await self._results(query, encoded, deadline)
        predictions = []
        for text, result in zip(encoded, results, strict=True):
            predictions.append(self._prediction(text, result, seconds))
            if not len(predictions) % _TEXTS_A_TURN:
                await asyncio.sleep(0)
        return predictions

    def _prediction(self, text: Encoded, result: Result, tokenize_seconds: float) -> Prediction:
        output = self.predictor.output(text, result.logits)
        for label, score in self.predictor.head.given(self.manifest, output):
            self._observer.predicted(label, score)
        return Prediction(output, result.queue_seconds, tokenize_seconds, result.run_seconds)

    async def _results(self, query: Query, encoded: list[Encoded], deadline: float) -> list[Result]:
        cache = self._cache
        if cache is None:
            return await self._scheduler.submit(encoded, query.priority, deadline)
        keys = [cache.key(query.client, text) for text in encoded]
        known = [cache.get(key) for key in keys]
        missing = [text for text, logits in zip(encoded, known, strict=True) if logits is None]
        self._observer.cached(len(encoded) - len(missing), len(missing))
        ran = iter(await self._scheduler.submit(missing, query.priority, deadline) if missing else ())
        results = [next(ran) if logits is None else Result(logits, 0.0, 0.0) for logits in known]
        for key, result in zip(keys, results, strict=True):
            cache.put(key, result.logits)
        return results

    async def _tokenize(self, query: Query, chars: int) -> list[Encoded]:
        if chars <= _INLINE_CHARS and not self._cuda:
            encoded = self._encode(query)
        else:
            self._scheduler.expect(len(query.texts))
            try:
                loop = asyncio.get_running_loop()
                encoded = await loop.run_in_executor(self._tokenizing, self._encode, query)
            finally:
                self._scheduler.expect(-len(query.texts))
        self._check(encoded, query)
        if not any(text.truncated for text in encoded):
            tokens = sum(len(text.ids) - _SPECIAL_TOKENS for text in encoded)
            # Bounded, so that texts of a kind that nobody else writes do not spoil it.
            sample = min(max(chars / max(tokens, 1), _CHARS_A_TOKEN / 4), 2 * _CHARS_A_TOKEN)
            self._chars_a_token += _LEARN * (sample - self._chars_a_token)
        return encoded

    def _encode(self, query: Query) -> list[Encoded]:
        return self.predictor.encode(query.texts, query.truncation if query.truncation in ("left", "right") else None)

    def _check(self, encoded: Sequence[Encoded], query: Query) -> None:
        for index, text in enumerate(encoded):
            if not text.ids:
                raise InvalidRequest(f"texts[{index}] has no token that the model knows; send other text")
            if text.truncated and query.truncation == "refuse":
                raise InvalidRequest(
                    f"texts[{index}] has more than the {self.manifest.max_length} tokens that the model reads; "
                    "shorten it, or let it be truncated"
                )


def _chars(text: Text) -> int:
    return len(text) if isinstance(text, str) else len(text[0]) + len(text[1])


def _batch_variance(engine: Engine) -> float:
    """Return how much an answer depends on its batch, as proven on the provider."""
    proofs = engine.variant.proofs
    return next((each.batch_variance for each in proofs if each.provider == engine.provider), inf)
