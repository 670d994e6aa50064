"""Decides whether a variant may be published."""

from bertwire_export.bundle import Limits, Quality, Scores


def faults(quality: Quality, reference: Scores, limits: Limits) -> list[str]:
    """Every limit that the variant breaks, in words; empty where it may be published."""
    found = []
    if quality.label_agreement < limits.min_label_agreement:
        found.append(
            f"it agrees with PyTorch on {quality.label_agreement:.2%} of the texts, "
            f"at least {limits.min_label_agreement:.2%} is asked"
        )
    for name, value, best in (
        ("accuracy", quality.accuracy, reference.accuracy),
        ("macro-F1", quality.macro_f1, reference.macro_f1),
    ):
        if best - value > limits.max_quality_drop:
            found.append(
                f"its {name} {value:.4f} lies {best - value:.4f} below PyTorch's, "
                f"at most {limits.max_quality_drop:.4f} is allowed"
            )
    limit = limits.max_logit_difference
    if limit is not None and quality.max_logit_difference > limit:
        found.append(f"a logit differs by {quality.max_logit_difference:.2g}, at most {limit:.2g} is allowed")
    return found
