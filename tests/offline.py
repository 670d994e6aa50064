"""Logits of a bundle's variant by tokenizers and ONNX Runtime alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.layouts import arrange, variant_layout


class Offline:
    """A variant without bertwire's tokenizer and runner.

    Attributes:
        manifest: the bundle's manifest.
    """

    def __init__(self, bundle: Path, name: str) -> None:
        self.manifest = open_bundle(bundle).manifest
        variant = next(each for each in self.manifest.variants if each.name == name)
        self._tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
        self._layout = variant_layout(self.manifest, variant)
        self._session = onnxruntime.InferenceSession(bundle / variant.file.name, providers=["CPUExecutionProvider"])

    def encode(self, texts: Sequence[str] | Sequence[tuple[str, str]], side: str = "right") -> list[Encoding]:
        """Return the texts' tokens, cut on a side."""
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.manifest.max_length, direction=side)
        encodings: list[Encoding] = self._tokenizer.encode_batch(texts)
        return encodings

    def run(self, encodings: list[Encoding]) -> NDArray[np.float32]:
        """Return the logits of one batch, as the graph gives them."""
        arrays = arrange(encodings, self._layout)
        logits: NDArray[np.float32] = self._session.run(
            ["logits"], {each.name: arrays[each.name] for each in self._session.get_inputs()}
        )[0]
        return logits

    def each(self, texts: Sequence[str] | Sequence[tuple[str, str]], side: str = "right") -> list[NDArray[np.float32]]:
        """Return the logits of each text alone, float32 [labels] or [tokens, labels]."""
        by_token = self._layout.by_token
        return [self.run([each]).reshape((len(each.ids), -1) if by_token else -1) for each in self.encode(texts, side)]
