"""Find the limits that a candidate breaks."""

from bertwire_core.tasks import ServedTask
from bertwire_export.tasks import TASK_EXPORTS
from bertwire_runtime.bundle import Agreement, GateLimits, Quality, Scores

# Shares and scores are compared up to this: what is one row apart on paper may be less in floating point.
_ROUNDING = 1e-9


def faults(
    task: ServedTask, quality: Quality, batch_variance: float, reference: Scores, limits: GateLimits
) -> tuple[str, ...]:
    """Return every limit that a candidate breaks on dev, in words; empty where it may be published."""
    found, output = list[str](), TASK_EXPORTS[task].output
    agreement = quality.label_agreement
    if agreement is not None and agreement < limits.least_agreement - _ROUNDING:
        found.append(
            f"it decides as PyTorch in {agreement:.2%} of the cases, at least {limits.least_agreement:.2%} is asked"
        )
    for name, best in reference.items():
        value, most = quality.scores[name], limits.most_drop(name)
        if (name in TASK_EXPORTS[task].compared or name in limits.metric_drops) and best - value > most + _ROUNDING:
            found.append(
                f"its {name} {value:.4f} lies {best - value:.4f} below PyTorch's, at most {most:.4f} is allowed"
            )
    limit = limits.max_logit_difference
    if limit is not None and quality.max_logit_difference > limit:
        found.append(
            f"a {output} differs by {quality.max_logit_difference:.2g} from PyTorch's, at most {limit:.2g} is allowed"
        )
    if batch_variance > limits.max_batch_variance:
        found.append(
            f"a {output} differs by {batch_variance:.2g} with the other texts of the batch, "
            f"at most {limits.max_batch_variance:.2g} is allowed"
        )
    return tuple(found)


def text_faults(found: Agreement, limits: GateLimits) -> tuple[str, ...]:
    """Return the limits that a candidate breaks on texts without labels, in words; one decision may always differ."""
    faults, logit = [], limits.max_logit_difference
    if found.label_agreement is not None:
        least = min(limits.min_label_agreement, 1 - 1 / found.decisions)
        if found.label_agreement < least - _ROUNDING:
            faults.append(
                f"it decides as PyTorch in {found.label_agreement:.2%} of the cases of --texts, at least {least:.2%} "
                "is asked"
            )
    if logit is not None and found.max_logit_difference > logit:
        faults.append(
            f"on --texts a logit differs by {found.max_logit_difference:.2g} from PyTorch's, "
            f"at most {logit:.2g} is allowed"
        )
    return (*faults, *abstain_faults(found.abstain_agreement, found.decisions, limits, " of --texts"))


def abstain_faults(agreement: float | None, texts: int, limits: GateLimits, where: str = "") -> tuple[str, ...]:
    """Return the limit broken by the agreement with PyTorch on abstaining, in words, or nothing.

    One of the `texts` may always differ: the threshold lies between two of dev.
    """
    least = min(limits.min_label_agreement, 1 - 1 / texts) if texts else 0.0
    if agreement is None or agreement >= least - _ROUNDING:
        return ()
    return (f"it abstains as PyTorch in {agreement:.2%} of the cases{where}, at least {least:.2%} is asked",)


def rare_faults(task: ServedTask, difference: float, limits: GateLimits) -> tuple[str, ...]:
    """Return the limit broken by the largest difference of a logit on texts with rare tokens, in words, or nothing."""
    limit = limits.max_logit_difference
    if limit is None or difference <= limit:
        return ()
    return (
        f"with unknown, padding and other special tokens in a text a {TASK_EXPORTS[task].output} differs by "
        f"{difference:.2g} from PyTorch's, at most {limit:.2g} is allowed",
    )
