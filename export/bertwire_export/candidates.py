"""Build the candidates: the graphs among which the fastest that keeps its limits is published."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

import numpy as np
import onnx

from bertwire_export.checkpoint import Checkpoint
from bertwire_export.config import Precision
from bertwire_export.convert import fuse
from bertwire_export.half import to_half
from bertwire_export.int8 import Range
from bertwire_export.measure import BATCH_SIZE
from bertwire_export.packed.build import build_packed
from bertwire_export.packed.linear import Fp32Linears, Int8Linears
from bertwire_export.packed.ranges import measure_ranges
from bertwire_export.packed.weights import Encoder
from bertwire_export.quantize import quantize_padded
from bertwire_runtime.bundle import Provider
from bertwire_runtime.heads import HEADS
from bertwire_runtime.layouts import Layout, Tokens, arrange
from bertwire_runtime.runner import Runner

# Length groups of short and of long texts, and the mean length in tokens from which texts are long. More groups compute
# less padding in attention and start more operators: with the other number long texts cost 10% more, a short one alone
# 7%.
_GROUPS, _GROUPS_OF_LONG, _LONG = 4, 9, 40
# Most texts that activation ranges are measured on. With half as many the ranges are narrower, and more is cut off.
_RANGE_TEXTS = 512
# Texts on which a fused graph has to give the unfused one's logits, and the largest difference of a logit: fp32's
# default limit. With half as many texts a fusion that is wrong for some of them is found less often.
_COMPARED_TEXTS, _SAME_LOGIT = 16, 1e-3


@dataclass(frozen=True, slots=True)
class Built:
    """A graph that has been built.

    Attributes:
        name: precision and layout, and `cuda` where there is another graph of both for the CPU.
        precision: the number format of its linear layers.
        layout: the layout of its inputs.
        providers: the providers that it is proven on.
        path: the file.
    """

    name: str
    precision: Precision
    layout: Layout
    providers: tuple[Provider, ...]
    path: Path


@dataclass(frozen=True, slots=True)
class Recipe:
    """A graph to be built: its name, where it will run, and how to write it to a path."""

    name: str
    precision: Precision
    layout: Layout
    providers: tuple[Provider, ...]
    write: Callable[[Path], None]


class Workshop:
    """A builder of the candidates of one checkpoint.

    Attributes:
        encoder: the weights for packed graphs; None where the model's structure is not known.
        notes: which graphs are not fused, in words.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        encoder: Encoder | None,
        range_texts: Sequence[Tokens],
        folder: Path,
        convert: Callable[[Path], None],
    ) -> None:
        """Remember what to build from, and build nothing yet.

        Args:
            checkpoint: the model.
            encoder: its weights for packed graphs, or None.
            range_texts: texts that activation ranges are measured on, and that tell how long texts are.
            folder: the folder of the graphs.
            convert: writes the model in the padded layout, not fused yet, to a path.
        """
        self.encoder, self.notes = encoder, list[str]()
        self._checkpoint, self._folder, self._converter = checkpoint, folder, convert
        self._range_texts = range_texts[:_RANGE_TEXTS]
        self._by_token = HEADS[checkpoint.training.task].by_token

    def recipes(self, precisions: Sequence[Precision], providers: Sequence[Provider]) -> list[Recipe]:
        """Return the recipes that are worth building: packed graphs; without an encoder padded ones.

        Args:
            precisions: number formats.
            providers: those of this machine; each has a packed graph of its own.
        """
        if self.encoder is None:
            return [self.padded(precision) for precision in precisions]
        pairs = [(each, able) for each in precisions for able in each.providers if able in providers]
        return [self._packed(self.encoder, precision, provider) for precision, provider in pairs]

    def build(self, recipe: Recipe) -> Built:
        """Build the graph of a recipe."""
        path = self._folder / f"{recipe.name}.onnx"
        recipe.write(path)
        return Built(recipe.name, recipe.precision, recipe.layout, recipe.providers, path)

    @cached_property
    def _ranges(self) -> dict[str, Range]:
        assert self.encoder is not None  # noqa: S101 - only packed graphs ask
        layout = self._layout(self.encoder, 1)
        starts = range(0, len(self._range_texts), BATCH_SIZE)
        batches = (arrange(self._range_texts[start : start + BATCH_SIZE], layout) for start in starts)
        return measure_ranges(self.encoder, layout.groups, batches)

    @cached_property
    def _groups(self) -> int:
        return _GROUPS_OF_LONG if fmean(len(each.ids) for each in self._range_texts) >= _LONG else _GROUPS

    @cached_property
    def _unfused(self) -> Path:
        path = self._folder / "unfused.onnx"
        self._converter(path)
        return path

    def _packed(self, encoder: Encoder, precision: Precision, provider: Provider) -> Recipe:
        # CUDA's attention for packed texts needs no groups; an empty one is a launch that it refuses.
        groups = 0 if provider == "cuda" else self._groups
        layout = self._layout(encoder, groups)

        def write(path: Path) -> None:
            if precision is Precision.INT8:
                onnx.save(build_packed(encoder, Int8Linears(self._ranges), groups), path)
            else:
                model = build_packed(encoder, Fp32Linears(), groups)
                onnx.save(to_half(model) if precision is Precision.FP16 else model, path)

        kind = "-cuda" if provider == "cuda" and precision is Precision.FP32 else ""
        return Recipe(f"{precision}-packed{kind}", precision, layout, (provider,), write)

    def _layout(self, encoder: Encoder, groups: int) -> Layout:
        return Layout("packed", groups, self._checkpoint.pad_token_id, self._by_token, encoder.skips_padding)

    def _fuse(self, path: Path, layout: Layout, *, attention: bool) -> None:
        """Write the graph, fused where that gives the same logits: a fusion drops what it does not know."""
        texts = self._range_texts[:_COMPARED_TEXTS]
        fuse(self._unfused, self._checkpoint.model, path, attention=attention)
        plain, fused = (Runner(each, layout, "cpu", threads=0).by_text(texts) for each in (self._unfused, path))
        worst = max(float(np.abs(one - other).max()) for one, other in zip(plain, fused, strict=True))
        if worst > _SAME_LOGIT:
            shutil.copyfile(self._unfused, path)
            self.notes.append(f"{path.stem} is not fused: fused, it differs by {worst:.2g} in a logit")

    def padded(self, precision: Precision) -> Recipe:
        """Return the recipe of a graph that computes padding, as converted and fused."""
        layout = Layout("padded", 0, self._checkpoint.pad_token_id, self._by_token)

        def write(path: Path) -> None:
            self._fuse(path, layout, attention=precision is not Precision.INT8)
            if precision is Precision.INT8:
                # One text at a time: the activations of padding belong to no text.
                quantize_padded(path, (arrange([text], layout) for text in self._range_texts), path)
            elif precision is Precision.FP16:
                onnx.save(to_half(onnx.load(path)), path)

        return Recipe(f"{precision}-padded", precision, layout, precision.providers, write)
