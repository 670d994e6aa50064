"""The parts of `training.json` that say how far the scores can be trusted."""

from pydantic import BaseModel, ConfigDict, Field

# The lower and the upper end of a 95% interval.
Interval = tuple[float, float]
# Intervals by metric.
Intervals = dict[str, Interval]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FoldsRecord(_Part):
    """The score of the method by folds of train and dev together."""

    folds: int = Field(description="Number of folds, and of models.")
    rows: int = Field(description="Rows that were scored, each once, by a model that was trained without it.")
    unscored: int = Field(
        description="Rows that every model learnt, since no other text has their label; they are in no fold."
    )
    scores: list[dict[str, float]] = Field(description="The figures of each fold.")
    mean: dict[str, float] = Field(description="The mean of each figure over the folds.")
    pooled: dict[str, float] = Field(description="The figures of all scored rows together.")
    intervals: Intervals = Field(description="95% intervals of `pooled`, as those of dev.")


class EditRecord(_Part):
    """What a small edit of the texts of dev changes."""

    name: str = Field(description="The edit.")
    rows: int = Field(description="Texts that it changes, among at most 1,000 of dev.")
    metric: str | None = Field(None, description="The figure of `before` and `score`; null where labels may change.")
    before: float | None = Field(None, description="The figure of these texts as they are.")
    score: float | None = Field(None, description="The figure of the edited texts.")
    flips: float | None = Field(None, description="Share of these texts that are decided otherwise; null for numbers.")
    change: float | None = Field(None, description="Mean absolute change of the number; null for decisions.")
    remark: str = Field("", description="What to know of it: why it was left out, or what to look at.")


class GroupRecord(_Part):
    """The scores of one group of texts."""

    name: str = Field(description="The group.")
    rows: int = Field(description="Number of its texts.")
    score: float = Field(description="The main figure of the task.")
    accuracy: float | None = Field(None, description="Share of texts decided right; null for numbers and tags.")
    selection_rate: dict[str, float] = Field(
        {}, description="Share of texts that get a label, by label; empty for more than 10 labels."
    )
    false_positive_rate: dict[str, float | None] = Field(
        {},
        description="Share that gets a label among texts without it, by label; null where all have it. Empty for more "
        "than 10 labels.",
    )
    remark: str = Field("", description="Whether it has too few rows.")


class FairnessRecord(_Part):
    """The scores of the groups of one column, or of one kind of identity terms."""

    split: str = Field(description="The split: dev or test.")
    groups_by: str = Field(description="The column, or the kind of terms.")
    metric: str = Field(description="The figure of `score`.")
    groups: list[GroupRecord] = Field(description="The groups; by terms a text counts in each that it mentions.")
    gaps: dict[str, float] = Field(
        description="The largest difference of two groups: of score, accuracy and false_positive_rate, of this for the "
        "label with the largest."
    )
    label: str | None = Field(None, description="The label with the largest difference of false positive rates.")


class TrustRecord(_Part):
    """What was measured beside the scores on dev and test."""

    intervals: dict[str, Intervals] = Field(
        {},
        description="95% intervals of the figures of dev and test below 1,000 rows: Wilson's for shares of rows, else "
        "the percentiles of 1,000 bootstrap samples of the rows.",
    )
    folds: FoldsRecord | None = Field(None, description="The score of the method by --folds.")
    robustness: list[EditRecord] = Field([], description="What small edits of dev texts change.")
    fairness: list[FairnessRecord] = Field([], description="The scores of groups of rows.")
