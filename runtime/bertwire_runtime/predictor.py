"""The one way from texts to answers: tokenize, run, decide."""

from collections.abc import Sequence
from typing import Literal

from bertwire_runtime.bundle import Bundle, BundleError, Manifest
from bertwire_runtime.engine import Engine, choose_engine
from bertwire_runtime.heads import HEADS, Head
from bertwire_runtime.output import Floats, Output
from bertwire_runtime.tokenizer import Encoded, Text, TextTokenizer

# Texts of one batch of `run`: more share hardly any more of what a run costs.
_BATCH_TEXTS = 32


class Predictor:
    """A variant of a bundle that answers texts, without gRPC or PyTorch.

        predictor = Predictor(open_bundle(Path("bundle")))
        print([output.scores for output in predictor.run(["a text", "another"])])

    `run` does it all, one caller at a time. A server takes the steps apart: `encode` (thread-safe), `logits` (one run
    at a time), `output` (thread-safe).

    Attributes:
        manifest: what the bundle says of itself.
        engine: runs the variant.
        head: what its logits mean.
    """

    def __init__(
        self,
        bundle: Bundle,
        variant: str | None = None,
        provider: Literal["auto", "cpu", "cuda"] = "auto",
        threads: int = 0,
    ) -> None:
        """Load the best variant that computes here what was proven, and the tokenizer.

        Args:
            bundle: the verified bundle.
            variant: name or precision; None: the best one.
            provider: where to run; auto: CUDA where it works.
            threads: threads of one run on the CPU; 0 takes one for each usable core.

        Raises:
            UserError: the bundle has no such variant, or the provider is not there.
            BundleError: the bundle is damaged, or no variant computes here what was proven.
        """
        self.manifest: Manifest = bundle.manifest
        self.head: Head = HEADS[bundle.manifest.task]
        self.engine: Engine = choose_engine(bundle, variant, provider, threads)
        self._tokenizer = _tokenizer(bundle, words=self.head.by_token)

    @property
    def last_id(self) -> int:
        """The highest token id of the tokenizer."""
        return self._tokenizer.last_id

    def run(self, texts: Sequence[Text]) -> list[Output]:
        """Answer texts, or pairs of them, in order; each has at least one token.

        Raises:
            ValueError: a text has no token.
        """
        outputs: list[Output] = []
        for start in range(0, len(texts), _BATCH_TEXTS):
            encoded = self.encode(texts[start : start + _BATCH_TEXTS])
            outputs += map(self.output, encoded, self.logits(encoded))
        return outputs

    def encode(self, texts: Sequence[Text], side: Literal["left", "right"] | None = None) -> list[Encoded]:
        """Tokenize texts in order, cutting long ones on `side`; None: on the side of the model's training."""
        return self._tokenizer.encode(texts, side)

    def logits(self, encoded: Sequence[Encoded]) -> list[Floats]:
        """Run one batch: for each text float32 [labels], or [tokens, labels] where the head reads tokens."""
        return self.engine.by_text(encoded)

    def output(self, encoded: Encoded, logits: Floats) -> Output:
        """Turn the logits of a text into its answer."""
        scores = self.head.scores(self.manifest, logits)
        return Output(logits, scores, encoded.words, len(encoded.ids), encoded.truncated)

    def close(self) -> None:
        """Free the session and its memory; nothing may be run any more."""
        self.engine.close()


def _tokenizer(bundle: Bundle, *, words: bool) -> TextTokenizer:
    manifest = bundle.manifest
    try:
        return TextTokenizer(
            bundle.read(manifest.tokenizer), manifest.max_length, manifest.truncation_side, words=words
        )
    except ValueError as error:
        raise BundleError(f"{bundle.path}: {manifest.tokenizer.name} is {error}") from error
