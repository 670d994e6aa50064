"""The gate by itself: every limit, what a fault says, and which of the candidates are published."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bertwire_core.errors import UserError
from bertwire_export.candidates import Built
from bertwire_export.config import ExportConfig, Precision
from bertwire_export.gate import abstain_faults, faults
from bertwire_export.prove import Proven
from bertwire_export.publish import choose
from bertwire_runtime.bundle import GateLimits, Proof, Provider, Quality, Scores, Speed
from bertwire_runtime.layouts import Layout

LIMITS = GateLimits(
    min_label_agreement=0.95, max_quality_drop=0.005, max_logit_difference=0.01, max_batch_variance=0.001
)
REFERENCE: Scores = {"macro_f1": 0.8, "accuracy": 0.9}


def quality(scores: Scores | None = None, agreement: float | None = 1.0, logit: float = 0.0) -> Quality:
    """A quality that breaks no limit unless told otherwise."""
    return Quality(
        scores=REFERENCE if scores is None else scores,
        label_agreement=agreement,
        max_logit_difference=logit,
        p99_logit_difference=0,
    )


def proven(
    name: str, precision: Precision = Precision.FP32, costs: dict[Provider, float] | None = None, fault: str = ""
) -> Proven:
    """A candidate with what a text costs on each provider, and with a fault on each where one is given."""
    proofs = tuple(
        Proof(
            provider=provider,
            dev=quality(),
            test=None,
            batch_variance=0,
            speed=Speed(cpu_ms_per_text=None, ms_per_text=cost, batch_size=32, device="a"),
            limits=LIMITS,
            faults=(fault,) if fault else (),
        )
        for provider, cost in (costs or {"cpu": 1.0}).items()
    )
    built = Built(name, precision, Layout("padded", 0, 0, by_token=False), precision.providers, Path(name))
    return Proven(built, proofs, np.zeros((1, 2), np.float32))


@pytest.mark.parametrize(
    ("measured", "variance", "words"),
    [
        (
            quality(agreement=0.9412),
            0.0,
            "it decides as PyTorch in 94.12% of the cases, at least 95.00% is asked",
        ),
        (
            quality({"macro_f1": 0.79, "accuracy": 0.9}),
            0.0,
            "its macro_f1 0.7900 lies 0.0100 below PyTorch's, at most 0.0050 is allowed",
        ),
        (
            quality({"macro_f1": 0.8, "accuracy": 0.88}),
            0.0,
            "its accuracy 0.8800 lies 0.0200 below PyTorch's, at most 0.0050 is allowed",
        ),
        (quality(logit=0.25), 0.0, "a logit differs by 0.25 from PyTorch's, at most 0.01 is allowed"),
        (
            quality(),
            0.003,
            "a logit differs by 0.003 with the other texts of the batch, at most 0.001 is allowed",
        ),
    ],
)
def test_each_limit_has_its_words(measured: Quality, variance: float, words: str) -> None:
    """A limit that is broken, and it alone, is named with what was found and what is allowed."""
    assert faults("single_label", measured, variance, REFERENCE, LIMITS) == (words,)


def test_keeps_limits_at_their_edge() -> None:
    """What lies exactly on a limit may be published, and better scores than PyTorch's are no fault."""
    edge = quality({"macro_f1": 1.0, "accuracy": 0.9}, agreement=0.95, logit=0.01)
    assert faults("single_label", edge, 0.001, REFERENCE, LIMITS) == ()


def test_names_every_fault() -> None:
    """One fault does not hide another."""
    worst = quality({"macro_f1": 0.0, "accuracy": 0.0}, agreement=0, logit=1)
    assert len(faults("single_label", worst, 1, REFERENCE, LIMITS)) == 5


@pytest.mark.parametrize(
    ("agreement", "texts", "words"),
    [
        (None, 10, ()),
        (1.0, 10, ()),
        (0.95, 1000, ()),
        (0.949, 1000, ("it abstains as PyTorch in 94.90% of the cases, at least 95.00% is asked",)),
        (9 / 10, 10, ()),
        (8 / 10, 10, ("it abstains as PyTorch in 80.00% of the cases, at least 90.00% is asked",)),
    ],
)
def test_abstains_as_often_as_it_decides_alike(agreement: float | None, texts: int, words: tuple[str, ...]) -> None:
    """The limit is that of labels, of one text of few at the least; a model that never abstains has none."""
    assert abstain_faults(agreement, texts, LIMITS) == words


def test_logit_limit_may_be_absent() -> None:
    """Where no limit is set for logits no distance is a fault."""
    assert (
        faults("single_label", quality(logit=9), 0, REFERENCE, LIMITS.model_copy(update={"max_logit_difference": None}))
        == ()
    )


def test_regression_is_held_to_its_correlations() -> None:
    """Regression has no agreement to keep, its error in units of the target has no limit, its correlations have."""
    reference = {"pearson": 0.9, "spearman": 0.8, "mae": 1.0}
    assert faults("regression", quality(reference | {"mae": 5.0}, agreement=None), 0, reference, LIMITS) == ()
    assert faults("regression", quality(reference | {"mae": 0.1}, agreement=None), 0, reference, LIMITS) == ()
    found = faults(
        "regression", quality(reference | {"pearson": 0.5, "spearman": 0.5}, agreement=None), 0, reference, LIMITS
    )
    assert [each.split(" lies")[0] for each in found] == ["its pearson 0.5000", "its spearman 0.5000"]


def test_options_are_the_limits() -> None:
    """Each precision has limits of its own; only fp32 has one for logits."""
    config = ExportConfig(
        checkpoint=Path("c"),
        output=Path("o"),
        fp32_max_logit_difference=0.5,
        fp16_max_batch_variance=0.25,
        int8_min_agreement=0.75,
        int8_max_drop=0.125,
    )
    assert config.limits(Precision.FP32).max_logit_difference == 0.5
    assert config.limits(Precision.FP16).max_logit_difference is None
    assert config.limits(Precision.FP16).max_batch_variance == 0.25
    int8 = config.limits(Precision.INT8)
    assert (int8.min_label_agreement, int8.max_quality_drop, int8.max_logit_difference) == (0.75, 0.125, None)


@pytest.mark.parametrize(("output", "report"), [("out/x", "out/x.report.html"), ("a.b/", "a.b.report.html")])
def test_report_lies_beside_the_bundle(output: str, report: str) -> None:
    """Never within it: the bundle's folder holds only what is sealed."""
    assert ExportConfig(checkpoint=Path("c"), output=Path(output), name="n").report == Path(report)


@pytest.mark.parametrize("output", [".", "..", "/"])
def test_output_has_a_name_of_its_own(output: str) -> None:
    """The folder one is in, or above, cannot become a bundle."""
    with pytest.raises(UserError, match="is no name for an output"):
        ExportConfig(checkpoint=Path("c"), output=Path(output), name="n")


def test_chooses_the_fastest_of_each_precision() -> None:
    """Of each precision the fastest is chosen, whatever the other precisions cost."""
    rivals = [
        proven("fp32-padded", costs={"cpu": 3}),
        proven("fp32-packed", costs={"cpu": 2}),
        proven("int8-packed", Precision.INT8, {"cpu": 5}),
    ]
    assert choose(rivals, force=False) == {"fp32-packed": ("cpu",), "int8-packed": ("cpu",)}


def test_costs_that_are_as_good_as_equal_do_not_choose() -> None:
    """Within 5% of the fastest the nearest to PyTorch is taken; beyond, the fastest."""

    def rival(name: str, cost: float, off: float) -> Proven:
        found = proven(name, costs={"cpu": cost})
        dev = found.proofs[0].dev.model_copy(update={"p99_logit_difference": off})
        return replace(found, proofs=(found.proofs[0].model_copy(update={"dev": dev}),))

    assert choose([rival("a", 1.0, 0.2), rival("b", 1.04, 0.1)], force=False) == {"b": ("cpu",)}
    assert choose([rival("a", 1.0, 0.2), rival("b", 1.06, 0.1)], force=False) == {"a": ("cpu",)}


def test_chooses_for_each_provider() -> None:
    """The fastest on one provider need not be the fastest on the other; one that is both is taken once."""
    apart = [proven("a", costs={"cpu": 1, "cuda": 2}), proven("b", costs={"cpu": 2, "cuda": 1})]
    assert choose(apart, force=False) == {"a": ("cpu",), "b": ("cuda",)}
    assert choose([proven("a", costs={"cpu": 1, "cuda": 1}), apart[1]], force=False) == {"a": ("cpu", "cuda")}


def test_faster_with_faults_is_passed_over() -> None:
    """A fault keeps a candidate out, forced or not, as long as another of its precision has none."""
    rivals = [proven("fast", costs={"cpu": 1}, fault="wrong"), proven("slow", costs={"cpu": 9})]
    assert choose(rivals, force=False) == {"slow": ("cpu",)}
    assert choose(rivals, force=True) == {"slow": ("cpu",)}


def test_force_takes_the_fastest_with_faults() -> None:
    """Where every candidate of a precision has faults none is chosen, or by force the fastest."""
    rivals = [
        proven("fp32", costs={"cpu": 4}),
        proven("slow", Precision.INT8, {"cpu": 3}, fault="wrong"),
        proven("fast", Precision.INT8, {"cpu": 2}, fault="wrong"),
    ]
    assert choose(rivals, force=False) == {"fp32": ("cpu",)}
    assert choose(rivals, force=True) == {"fp32": ("cpu",), "fast": ("cpu",)}
