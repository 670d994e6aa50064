"""Answers by a bundle in this process, without a server."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from bertwire_batch.answers import Text
from bertwire_batch.tally import Tally
from bertwire_client.replies import Embedding, Entity, LabelScore, ModelInfo, Result, Timing
from bertwire_client.requests import EmbedOptions, Options
from bertwire_core.errors import UserError, first_line
from bertwire_runtime.bundle import Manifest, open_bundle
from bertwire_runtime.heads import HEADS
from bertwire_runtime.output import Output, best
from bertwire_runtime.predictor import Predictor
from bertwire_runtime.thresholds import Thresholds
from bertwire_runtime.vectors import vector_of

Found = TypeVar("Found", Result, Embedding)

_NO_TIMING = Timing(0, 0, 0)
_NOT_FINITE = "the model gives a number that is not finite"


class InProcess:
    """A bundle that answers in a thread; see `Engine`.

    Attributes:
        calls: two, so that the next texts are read and the last ones kept while the model runs.
        model: the bundle's.
        sha256: what identifies the bundle.
    """

    calls = 2

    def __init__(self, path: Path, tally: Tally, threads: int = 0) -> None:
        """Load the best variant of a bundle on this machine.

        Args:
            path: the bundle.
            tally: counts the answered calls.
            threads: threads per run on the CPU; 0: one per usable core.

        Raises:
            UserError: the bundle cannot be used.
        """
        self.name, self._tally = str(path), tally
        bundle = open_bundle(path)
        self.sha256: str | None = bundle.sha256
        self._predictor = Predictor(bundle, threads=threads)
        self._lock = asyncio.Lock()
        self.model = _info(self._predictor)

    async def classify(self, texts: Sequence[Text], options: Options) -> list[Result | str]:
        """Return each text's result, or why it has none."""
        thresholds, top_k = Thresholds(options.get("threshold")), options.get("top_k")
        return await self._by_text(texts, lambda each: _result(self._predictor.manifest, each, thresholds, top_k))

    async def embed(self, texts: Sequence[str], options: EmbedOptions) -> list[Embedding | str]:
        """Return each text's vector, or why it has none."""
        dimensions, normalize = options.get("dimensions"), options.get("normalize", False)
        return await self._by_text(
            texts, lambda each: _embedding(self._predictor.manifest, each, dimensions, normalize=normalize)
        )

    async def _by_text(self, texts: Sequence[Text], convert: Callable[[Output], Found]) -> list[Found | str]:
        try:
            async with self._lock:
                started = time.perf_counter()
                outputs = await asyncio.to_thread(self._predictor.run, texts)
        except UserError:
            raise
        except Exception as error:  # a text without a token, or for which the model fails
            if len(texts) == 1:
                return [first_line(error)]
            middle = len(texts) // 2
            return await self._by_text(texts[:middle], convert) + await self._by_text(texts[middle:], convert)
        self._tally.answered(len(texts), time.perf_counter() - started)
        return [convert(each) if _is_finite(each) else _NOT_FINITE for each in outputs]


def _is_finite(output: Output) -> bool:
    """Return whether every number of an output is finite."""
    return all(np.isfinite(each).all() for each in (output.scores, output.embedding) if each is not None)


def _result(manifest: Manifest, output: Output, thresholds: Thresholds, top_k: int | None) -> Result:
    """Return an output as a server gives it."""
    head = HEADS[manifest.task]
    labels: tuple[LabelScore, ...] = ()
    if not head.by_token:
        chosen, scores = head.chosen(manifest, output, thresholds), output.scores.tolist()
        labels = tuple(LabelScore(manifest.labels[at], scores[at], chosen[at]) for at in best(output.scores, top_k))
    entities = [each for each in output.entities if each.score >= thresholds.of(each.label, 0.0)]
    return Result(
        labels=labels,
        logits=(),
        token_count=output.token_count,
        truncated=output.truncated,
        timing=_NO_TIMING,
        entities=tuple(Entity(each.label, each.start, each.end, each.score) for each in entities),
        rules=output.rules,
        abstained=output.abstained,
    )


def _embedding(manifest: Manifest, output: Output, dimensions: int | None, *, normalize: bool) -> Embedding:
    vector = vector_of(manifest, output, dimensions, normalize=normalize)
    return Embedding(tuple(vector.tolist()), output.token_count, output.truncated, _NO_TIMING)


def _info(predictor: Predictor) -> ModelInfo:
    manifest, engine = predictor.manifest, predictor.engine
    return ModelInfo(
        name=manifest.name,
        version=manifest.version,
        aliases=(),
        default=True,
        state="ready",
        reason="",
        task=manifest.task,
        text_pairs=manifest.text_pairs,
        labels=manifest.labels,
        max_length=manifest.max_length,
        variant=engine.variant.name,
        precision=engine.variant.precision,
        provider=engine.provider,
        quality={},
        proven=engine.proven,
        fallback_reason=engine.passed_over,
        rules=() if predictor.rules is None else predictor.rules.names,
        abstains=manifest.abstention is not None,
        dimensions=0 if manifest.embedding is None else manifest.embedding.dimensions,
    )
