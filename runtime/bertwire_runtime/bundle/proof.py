"""The measurements of a graph, as parts of `manifest.json`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Distance = Annotated[float, Field(ge=0)]
Provider = Literal["cpu", "cuda"]
# By metric. single_label: macro_f1, accuracy. multi_label: micro_f1, macro_f1, subset_accuracy. token_classification:
# f1, precision, recall, of entities. regression: pearson, spearman, mae. embedding: cosine with PyTorch's vectors (the
# mean, and least_cosine), neighbours (the share of the nearest texts that are PyTorch's too), and spearman where there
# are pairs with scores.
Scores = dict[str, float]


class Part(BaseModel):
    """A frozen part of the manifest, without unknown fields or numbers that JSON does not have."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Quality(Part):
    """A variant's scores on a split, and its difference from PyTorch there.

    Attributes:
        scores: by metric.
        label_agreement: share of decisions equal to PyTorch's: per text, per text and label (present or not), or per
            word. None for regression.
        abstained: share of the texts from which the variant abstains. None where the model never does.
        abstain_agreement: share of the texts from which both or none of the variant and PyTorch abstain; else None.
        max_logit_difference: largest absolute logit difference from PyTorch.
        p99_logit_difference: 99th percentile of the absolute differences.
    """

    scores: Scores
    label_agreement: Share | None
    abstained: Share | None = None
    abstain_agreement: Share | None = None
    max_logit_difference: Distance
    p99_logit_difference: Distance


# The key of the label agreement in `GateLimits.one_row`, beside those of metrics.
AGREEMENT = "label_agreement"


class Agreement(Part):
    """A variant's difference from PyTorch on texts without labels.

    Attributes:
        decisions: number of decisions: a text each, a text and label each, or a word each; 0 for regression.
        label_agreement: share of them equal to PyTorch's; None for regression.
        abstained, abstain_agreement: as of `Quality`.
        max_logit_difference: largest absolute logit difference from PyTorch.
    """

    decisions: int = Field(ge=0)
    label_agreement: Share | None
    abstained: Share | None = None
    abstain_agreement: Share | None = None
    max_logit_difference: Distance


class GateLimits(Part):
    """Limits that a variant must meet to be published.

    Attributes:
        min_label_agreement: least `label_agreement`, and least `abstain_agreement`, of which one text may always
            differ.
        max_quality_drop: largest loss of accuracy, F1 or correlation against PyTorch on dev.
        max_logit_difference: largest absolute logit difference, or None for no limit.
        max_batch_variance: largest batch variance.
        metric_drops: in place of `max_quality_drop` for some metrics.
        one_row: the most that one row of dev is worth, by metric and for `AGREEMENT`; no limit is finer than that.
    """

    min_label_agreement: Share
    max_quality_drop: Distance
    max_logit_difference: Distance | None
    max_batch_variance: Distance
    metric_drops: dict[str, Distance] = {}
    one_row: dict[str, Distance] = {}

    @property
    def least_agreement(self) -> float:
        """Return the least share of decisions that are PyTorch's, that one of them may differ."""
        return min(self.min_label_agreement, 1 - self.one_row.get(AGREEMENT, 0.0))

    def drop(self, metric: str) -> float:
        """Return the limit of a metric."""
        return self.metric_drops.get(metric, self.max_quality_drop)

    def most_drop(self, metric: str) -> float:
        """Return the most that a score may lie below PyTorch's, that one row may be decided otherwise."""
        return max(self.drop(metric), self.one_row.get(metric, 0.0))


class Speed(Part):
    """Cost per text, with all of its chunks, on the exporting machine, for dev texts in file order, without tokenizing.

    Attributes:
        cpu_ms_per_text: CPU-milliseconds on one thread; None on CUDA.
        ms_per_text: wall-clock milliseconds.
        batch_size: texts or chunks per batch; on CUDA as many as average 16,384 tokens.
        device: name of the processor or GPU.
    """

    cpu_ms_per_text: Annotated[float, Field(gt=0)] | None
    ms_per_text: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    device: str

    @property
    def cost(self) -> float:
        """Return the milliseconds that variants of one provider are ranked by: CPU time, less affected by other load,
        if known.
        """
        return self.ms_per_text if self.cpu_ms_per_text is None else self.cpu_ms_per_text


class Proof(Part):
    """Measurements of one graph on one provider.

    Attributes:
        dev: quality on the dev texts.
        test: quality on the test texts, if any.
        texts: agreement with PyTorch on texts without labels, if any.
        batch_variance: largest absolute logit difference of a text run alone and with 1, 15 and 63 others.
        speed: cost per text.
        faults: the limits that were broken, in words.
    """

    provider: Provider
    dev: Quality
    test: Quality | None
    texts: Agreement | None = None
    batch_variance: Distance
    speed: Speed
    limits: GateLimits
    faults: tuple[str, ...]
