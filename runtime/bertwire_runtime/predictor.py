"""Prediction: tokenize, run, interpret."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Literal

from bertwire_core.chunks import Chunks
from bertwire_core.scope import Scope
from bertwire_runtime.bundle import Bundle, BundleError, Manifest
from bertwire_runtime.engine import Engine, choose_engine
from bertwire_runtime.heads import HEADS, Head
from bertwire_runtime.output import Floats, Output
from bertwire_runtime.rules import RuleSet, read_rules
from bertwire_runtime.scope import read_scope
from bertwire_runtime.spans import Span
from bertwire_runtime.tokenizer import Encoded, Text, TextTokenizer, Token, means_by_text
from bertwire_runtime.vectors import resized

# Texts per batch of `run`; larger batches amortise hardly any more overhead.
_BATCH_TEXTS = 32


class Predictor:
    """A variant of a bundle that classifies or embeds texts, without gRPC or PyTorch.

        predictor = Predictor(open_bundle(Path("bundle")))
        print([output.scores for output in predictor.run(["a text", "another"])])

    `run` does all steps and is not thread-safe. The server calls them one by one: `encode` (thread-safe), `logits` (one
    at a time), `output` (thread-safe).
    """

    def __init__(
        self,
        bundle: Bundle,
        variant: str | None = None,
        provider: Literal["auto", "cpu", "cuda"] = "auto",
        threads: int = 0,
    ) -> None:
        """Load the tokenizer and the best variant that passes the probe on this machine.

        Args:
            bundle: the verified bundle.
            variant: name or precision; None: the best one.
            provider: where to run; auto: CUDA where it works.
            threads: threads per run on the CPU; 0: one per usable core.

        Raises:
            UserError: the bundle has no such variant, the provider is unavailable, or a package for rules is missing.
            BundleError: the bundle is damaged, or no variant passes the probe.
        """
        self.manifest: Manifest = bundle.manifest
        self.rules: RuleSet | None = read_rules(bundle)
        self._scope: Scope | None = read_scope(bundle)
        self.head: Head = HEADS[bundle.manifest.task]
        self.engine: Engine = choose_engine(bundle, variant, provider, threads)
        self._tokenizer = _tokenizer(bundle, words=self.head.by_token)

    @property
    def width(self) -> int:
        """Return how many numbers `logits` gives of a text, or of each of its tokens."""
        own, scope = self.manifest.embedding, self._scope
        vector = own.dimensions if own is not None else scope.hidden if scope is not None else 0
        return len(self.manifest.labels) + vector

    @property
    def last_id(self) -> int:
        """Return the tokenizer's highest token id."""
        return self._tokenizer.last_id

    def run(self, texts: Sequence[Text]) -> list[Output]:
        """Classify texts or pairs in order.

        Raises:
            ValueError: a text has no token.
        """
        outputs: list[Output] = []
        for start in range(0, len(texts), _BATCH_TEXTS):
            encoded = self.encode(texts[start : start + _BATCH_TEXTS])
            chunks = [chunk for text in encoded for chunk in text.chunks()]
            batches = (chunks[at : at + _BATCH_TEXTS] for at in range(0, len(chunks), _BATCH_TEXTS))
            logits = chain.from_iterable(map(self.logits, batches))
            outputs += map(self.output, encoded, means_by_text(encoded, logits))
        return outputs

    def encode(self, texts: Sequence[Text], side: Literal["left", "right"] | None = None) -> list[Encoded]:
        """Tokenize texts in order, cutting long ones on `side`; None: on the model's own. Rules see them uncut."""
        encoded, rules = self._tokenizer.encode(texts, side), self.rules
        if rules is None:
            return encoded
        return [replace(each, rules=rules.matching(text)) for each, text in zip(encoded, texts, strict=True)]

    def words(self, text: Text, side: Literal["left", "right"] | None = None) -> list[list[Span]]:
        """Return start and end of the words that the model reads of a text, or of each text of a pair."""
        return self._tokenizer.words(text, side)

    def tokens(self, text: str, *, special: bool) -> Iterator[Token]:
        """Yield the tokens of a text, however many; `special`: with those that are put around it."""
        return self._tokenizer.tokens(text, special=special)

    def logits(self, encoded: Sequence[Encoded]) -> list[Floats]:
        """Run one batch of texts, of those in chunks a chunk at a time (`Encoded.chunks`).

        Returns:
            the logits of each, float32 [labels] or [tokens, labels], then its vector, if the model gives one; see
            `means_by_text`.
        """
        return self.engine.by_text(encoded)

    def output(self, encoded: Encoded, logits: Floats) -> Output:
        """Return the output of what `logits` gave for a text: the scores with the rules that match it, if any.

        A rule that forces a label decides, so that the model does not abstain.
        """
        foreign = self._scope is not None and bool(self._scope.refuses(logits))
        logits, embedding = self._parts(encoded, logits)
        matched, decisive = encoded.rules, logits
        if matched and self.rules is not None:
            decisive = self.rules.adjusted(matched, logits)
        scores, names = self.head.scores(self.manifest, decisive), tuple(each.name for each in matched)
        entities = self.head.entities(self.manifest, scores, encoded.words)
        forced = any(each.effect == "force" and scores[each.label] == 1 for each in matched)
        abstained = foreign and not forced
        read = entities, len(encoded.ids), encoded.truncated
        return Output(logits, scores, *read, names, abstained, embedding)

    def _parts(self, encoded: Encoded, row: Floats) -> tuple[Floats, Floats | None]:
        """Return the logits and the vector of what the graph gave for a text."""
        own, place = self.manifest.embedding, len(self.manifest.labels)
        if own is None:
            # That of a model that only abstains by it stays inside.
            return (row if self._scope is None else row[:place]), None
        # The mean of the vectors of chunks is shorter than they.
        return row[:place], resized(row[place:], normalize=own.normalize and bool(encoded.ends))

    def close(self) -> None:
        """Free the session and its memory; call nothing afterwards."""
        self.engine.close()


def _tokenizer(bundle: Bundle, *, words: bool) -> TextTokenizer:
    manifest = bundle.manifest
    try:
        return TextTokenizer(
            bundle.read(manifest.tokenizer),
            manifest.max_length,
            manifest.truncation_side,
            words=words,
            chunks=Chunks(manifest.chunks, manifest.chunk_overlap),
        )
    except ValueError as error:
        raise BundleError(f"{bundle.path}: {manifest.tokenizer.name} is {error}") from error
