"""The report of an export: what it shows, and that no label can act in it."""

import base64
import hashlib
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import numpy as np
import pytest

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_export.evidence import Evidence
from bertwire_export.report import write_report
from bertwire_runtime.bundle import Manifest, Scores
from html_tree import parse, text_of

SEAL = "5" * 64
SVG, TEXT = "data:image/svg+xml;base64,", "{http://www.w3.org/2000/svg}text"
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</bdi></td></table></text></svg><style>*{display:none}</style>",
    "$x_{1}^2$ & \\frac",
    "two\nlines\r\tand\x00\x1b[31m codes",
    "ביקורת שלילית",
    "\u202ereversed",
    "好评 हिन्दी 😀 👩‍🔬",
    "long " * 60,
    "-->]]>",
)
METRICS: dict[Task, tuple[str, ...]] = {
    "single_label": ("accuracy", "macro_f1"),
    "multi_label": ("micro_f1", "macro_f1"),
    "token_classification": ("f1", "precision", "recall"),
    "regression": ("pearson", "spearman", "mae"),
}


def rows(page: Element) -> list[str]:
    """Every line of every table, its cells with bars between them."""
    return ["|".join(text_of(cell) for cell in row) for row in page.iter("tr")]


def headings(page: Element) -> list[str]:
    return [text_of(each) for each in page.iter("h2")]


def image(page: Element, description: str) -> Element:
    """A plot as a tree."""
    (source,) = [each.attrib["src"] for each in page.iter("img") if each.attrib["alt"] == description]
    return fromstring(base64.b64decode(source.removeprefix(SVG)))  # noqa: S314 - made just now


def plots(page: Element) -> dict[str, str]:
    """The text in each plot, by the plot's description."""
    names = [each.attrib["alt"] for each in page.iter("img")]
    return {name: "|".join(text_of(text) for text in image(page, name).iter(TEXT)) for name in names}


def scores(task: Task, less: float = 0.0) -> Scores:
    return {metric: 0.9 - 0.1 * place - less for place, metric in enumerate(METRICS[task])}


def quality(task: Task, less: float) -> dict[str, object]:
    agreement = None if task == "regression" else 0.9876
    return {
        "scores": scores(task, less),
        "label_agreement": agreement,
        "max_logit_difference": 0.0625,
        "p99_logit_difference": 0.03125,
    }


def proof(
    task: Task, *, provider: str = "cpu", cost: float = 8.0, less: float = 0.0, **other: object
) -> dict[str, object]:
    limits = {
        "min_label_agreement": 0.97,
        "max_quality_drop": 0.01,
        "max_logit_difference": 0.5,
        "max_batch_variance": 0.001,
    }
    cpu = cost if provider == "cpu" else None
    speed = {"cpu_ms_per_text": cpu, "ms_per_text": cost / 2, "batch_size": 32, "device": f"A {provider} & Co"}
    measured = {"dev": quality(task, less), "test": quality(task, less), "batch_variance": 0.000125}
    return {"provider": provider, **measured, "speed": speed, "limits": limits, "faults": (), **other}


def candidate(name: str, *proofs: dict[str, object], **other: object) -> dict[str, object]:
    return {"name": name, "precision": "fp32", "layout": "padded", "proofs": proofs, **other}


def variant(name: str, *proofs: dict[str, object], **other: object) -> dict[str, object]:
    file = {"name": f"{name}.onnx", "bytes": 1_234_567, "sha256": "a" * 64}
    providers = [each["provider"] for each in proofs]
    return {**candidate(name, *proofs), "file": file, "providers": providers, "groups": 0, "forced": False, **other}


def manifest(task: Task = "single_label", labels: tuple[str, ...] = ("good", "bad", "so-so"), **other: Any) -> Manifest:  # noqa: ANN401
    """A manifest with one variant; `other` replaces fields."""
    labels = ("stars",) if task == "regression" else labels
    thresholds = tuple(0.25 + 0.01 * place for place in range(len(labels))) if task == "multi_label" else ()
    split = {"source": "dev.jsonl", "texts": 100, "sha256": "d" * 64}
    values = {
        "schema_version": 2,
        "name": "reviews",
        "version": "7",
        "task": task,
        "text_pairs": False,
        "labels": labels,
        "max_length": 64,
        "truncation_side": "right",
        "pad_token_id": 0,
        "tokenizer": {"name": "tokenizer.json", "bytes": 10, "sha256": "b" * 64},
        "calibration": {
            "temperature": 1.5 if task == "single_label" else 1,
            "thresholds": thresholds,
            "ece_before": 0.08,
            "ece_after": 0.02,
        },
        "variants": [variant("fp32", proof(task))],
        "candidates": [],
        "provenance": {
            "base_model": "bert-base-uncased",
            "checkpoint_sha256": "c" * 64,
            "training_sha256": "e" * 64,
            "converter": "torch",
            "dev": split,
            "test": {**split, "source": "test.jsonl", "sha256": "f" * 64},
            "reference": {"dev": scores(task), "test": scores(task)},
            "versions": {"python": "3.12.1", "torch": "2.9.0"},
        },
    }
    return Manifest.model_validate({**values, **other})


def texts_of(lengths: list[int]) -> Evidence:
    """The evidence of texts of so many tokens, of which 64 are read."""
    return Evidence(lengths, most=64, computed=[min(each, 64) for each in lengths])


def evidence(of: Manifest) -> Evidence:
    """All that the task of a manifest gives, drawn by chance from a fixed seed."""
    chance = np.random.default_rng(3)
    made = texts_of([int(each) for each in chance.integers(3, 100, 200)])
    if of.task == "regression":
        true = chance.normal(3, 1, 200)
        return replace(made, scatter=(true, true + chance.normal(0, 0.3, 200)))
    per_label = [(label, 0.9, 0.8, 0.85 - 0.001 * place, 10 + place) for place, label in enumerate(of.labels)]
    size = len(of.labels)
    confusion = chance.poisson(0.2, (size, size)) + np.diag(chance.integers(20, 40, size))
    sharp = chance.uniform(0.2, 1, 500)
    confidence = (sharp, sharp**1.5, chance.uniform(0, 1, 500) < sharp)
    return replace(
        made,
        per_label=per_label,
        confusion=None if of.task == "multi_label" else confusion,
        confidence=None if of.task == "token_classification" else confidence,
    )


def report(folder: Path, of: Manifest, given: Evidence | None = None) -> Element:
    write_report(folder / "report.html", of, given or evidence(of), seal=SEAL)
    return parse(folder / "report.html")


DISTANCES = ("label agreement", "max logit difference", "p99 logit difference")
BOTH = ["What was measured, and the verdict", "Quality against cost"]
LAST = ["Length of the texts", "Where it comes from"]


@pytest.mark.parametrize(
    ("task", "between"),
    [
        ("single_label", ["Calibration of the scores", "What is mistaken for what", "Label by label"]),
        ("multi_label", ["Calibration of the scores", "Label by label"]),
        ("token_classification", ["What is mistaken for what", "Label by label"]),
        ("regression", []),
    ],
)
def test_shows_what_the_task_has(tmp_path: Path, task: Task, between: list[str]) -> None:
    """Each task gets its sections, in order, and the facts that every model has."""
    page = report(tmp_path, manifest(task))
    last = [LAST[0], "Predicted and true numbers", LAST[1]] if task == "regression" else LAST
    assert headings(page) == [*BOTH, *between, *last]
    assert text_of(next(page.iter("h1"))) == "reviews 7"
    everything = text_of(page)
    for fact in (
        SEAL,
        "bert-base-uncased",
        "2.9.0",
        "a" * 64,
        "b" * 64,
        "c" * 64,
        "d" * 64,
        "e" * 64,
        "f" * 64,
        "A cpu & Co",
    ):
        assert fact in everything, fact
    lines = rows(page)
    start = lines.index(
        "graph|on|verdict|precision|layout|CPU-ms a text|wall ms a text|batch variance|split|"
        + "|".join((*METRICS[task], *DISTANCES))
    )
    plain = "|".join(f"{value:.4f}" for value in scores(task).values())
    compared = "|".join(f"{value:.4f} (+0.0000)" for value in scores(task).values())
    agreement = "-" if task == "regression" else "98.76%"
    assert lines[start + 1 : start + 5] == [
        f"PyTorch|||fp32|||||dev|{plain}|||",
        f"test|{plain}|||",
        f"fp32|cpu|published|fp32|padded|8.00|4.00|0.00013|dev|{compared}|{agreement}|0.062|0.031",
        f"test|{compared}|{agreement}|0.062|0.031",
    ]


def test_verdicts(tmp_path: Path) -> None:
    """Published, forced and refused graphs all stand there, with what they lost against PyTorch and why."""
    lost = proof("single_label", cost=2.0, less=0.05, faults=["its accuracy lies too far below"])
    of = manifest(
        variants=[
            variant("int8", lost, forced=True),
            variant("fp32", proof("single_label"), proof("single_label", provider="cuda", cost=0.5)),
        ],
        candidates=[candidate("fp16", lost), candidate("packed", proof("single_label"))],
    )
    lines = rows(report(tmp_path, of))
    starts = {"int8|cpu|forced", "fp32|cpu|published", "fp32|cuda|published", "fp16|cpu|not published"}
    for start in starts:
        assert any(line.startswith(start) for line in lines), start
    assert any(line.startswith("fp32|cuda|published|fp32|padded|-|0.25|") for line in lines)
    assert any("|0.8500 (-0.0500)|" in line for line in lines if line.startswith("int8"))
    assert sum("Broke: its accuracy lies too far below." in line for line in lines) == 2
    assert sum("Kept all of them, but was not chosen." in line for line in lines) == 1
    assert any("label agreement at least 97.00%" in line and "logit difference at most 0.5" in line for line in lines)


def test_fault_on_another_provider(tmp_path: Path) -> None:
    """A graph that failed on one provider says so where it passed, too."""
    bad = proof("single_label", provider="cuda", faults=["a logit differs"])
    lines = rows(report(tmp_path, manifest(candidates=[candidate("fp16", proof("single_label"), bad)])))
    assert any("Kept all of them, but not on cuda." in line for line in lines)


def test_cost_plot(tmp_path: Path) -> None:
    """The plot names every graph that was timed on the CPU, and PyTorch's score."""
    others = [candidate(f"candidate-{place}", proof("single_label", cost=8.0 + 0.01 * place)) for place in range(8)]
    page = report(tmp_path, manifest(candidates=others))
    names = {"fp32", *(f"candidate-{place}" for place in range(8))}
    text = plots(page)["Quality against CPU-milliseconds a text"]
    assert names | {"PyTorch: 0.9000", "published", "not published"} <= set(text.split("|"))
    plot = image(page, "Quality against CPU-milliseconds a text")
    places = [(each.get("x"), each.get("y")) for each in plot.iter(TEXT) if text_of(each) in names]
    assert len(set(places)) == len(places) == 9, "two names lie over each other"


def test_nothing_timed_on_cpu(tmp_path: Path) -> None:
    """Where only CUDA was measured, a sentence stands in the plot's place."""
    page = report(tmp_path, manifest(variants=[variant("fp16", proof("single_label", provider="cuda"))]))
    assert "No graph was timed on the CPU." in text_of(page)


def test_calibration(tmp_path: Path) -> None:
    """The diagram names both calibration errors and the temperature."""
    page = report(tmp_path, manifest())
    text = plots(page)["Reliability of the scores"]
    assert "before calibration, ECE 0.0800" in text
    assert "after calibration, ECE 0.0200" in text
    assert "$" not in text
    assert "temperature 1.5000" in text_of(page)


def test_thresholds(tmp_path: Path) -> None:
    """Every label of a multi_label model has its threshold."""
    lines = rows(report(tmp_path, manifest("multi_label")))
    assert [line for line in lines if re.fullmatch(r"[\w-]+\|0\.2\d+", line)] == [
        "good|0.2500",
        "bad|0.2600",
        "so-so|0.2700",
    ]


def test_confusions_most_frequent_first(tmp_path: Path) -> None:
    """Confusions are listed by their number, with their share of the true label; the diagonal is not among them."""
    counts = np.array([[90, 10, 0], [0, 50, 0], [3, 15, 12]])
    page = report(tmp_path, manifest(), replace(evidence(manifest()), confusion=counts))
    lines = rows(page)
    start = lines.index("true|predicted|times|share of the true label")
    assert lines[start + 1 : start + 4] == ["so-so|bad|15|50.0%", "good|bad|10|10.0%", "so-so|good|3|10.0%"]
    assert {"90", "50", "12", "15", "10", "3"} <= set(plots(page)["Confusion matrix"].split("|"))


def test_nothing_confused(tmp_path: Path) -> None:
    """A model without a mistake has a matrix, and a sentence in place of the list."""
    page = report(tmp_path, manifest(), replace(evidence(manifest()), confusion=np.diag([5, 5, 0])))
    assert "None was confused." in text_of(page)


def test_worst_label_first(tmp_path: Path) -> None:
    """The labels stand in the order of their F1."""
    given = replace(evidence(manifest()), per_label=[("good", 0.9, 0.8, 0.85, 7), ("bad", 0.5, 0.5, 0.5, 9)])
    lines = rows(report(tmp_path, manifest(), given))
    assert lines.index("bad|0.5000|0.5000|0.5000|9") + 1 == lines.index("good|0.9000|0.8000|0.8500|7")


@pytest.mark.parametrize(
    ("lengths", "cut", "padding"),
    [
        ([64] * 5, "0.00%", "0.00%"),
        ([64, 32, 65, 1000], "50.00%", "12.50%"),
        # A full batch without padding, then one of 10 and 20.
        ([8] * 32 + [10, 20], "0.00%", f"{10 / (256 + 40):.2%}"),
    ],
)
def test_truncation_and_padding(tmp_path: Path, lengths: list[int], cut: str, padding: str) -> None:
    """The shares of cut texts and of padding in batches of 32 are those that one counts by hand."""
    text = text_of(report(tmp_path, manifest(), texts_of(lengths)))
    assert f"{cut} of the texts have more than the 64 tokens that the model reads, and are cut." in text
    assert f"{padding} of the tokens that a padded graph computes are padding" in text


@pytest.mark.parametrize("task", list(METRICS))
def test_without_evidence(tmp_path: Path, task: Task) -> None:
    """Optional parts that are missing leave their sections out, and nothing else."""
    page = report(tmp_path, manifest(task), Evidence([]))
    thresholds = ["Label by label"] if task == "multi_label" else []
    assert headings(page) == [*BOTH, *thresholds, LAST[1]]


def test_empty_evidence(tmp_path: Path) -> None:
    """Parts that are there but empty count as missing."""
    none = np.array([])
    given = Evidence([], np.zeros((3, 3), dtype=np.int64), (none, none, none.astype(bool)), [], (none, none))
    assert headings(report(tmp_path, manifest(), given)) == [*BOTH, LAST[1]]


def test_without_test_texts(tmp_path: Path) -> None:
    """Where there was no test split, no line speaks of one."""
    of = manifest()
    provenance = of.provenance.model_dump() | {"test": None, "reference": {"dev": scores("single_label"), "test": None}}
    untested = variant("fp32", proof("single_label", test=None))
    page = report(tmp_path, manifest(provenance=provenance, variants=[untested]))
    assert not any(line.startswith("test|") for line in rows(page))
    assert "test.jsonl" not in text_of(page)


@pytest.mark.parametrize("task", list(METRICS))
def test_hostile_labels_stay_text(tmp_path: Path, task: Task) -> None:
    """Whatever labels, faults, sources and devices hold, the page has the same elements as with tame ones."""
    tame, hostile = (_with_names(task, names) for names in (tuple(f"label {each}" for each in range(10)), HOSTILE))
    pages = [report(tmp_path, each) for each in (tame, hostile)]
    skeletons = [[(node.tag, sorted(node.attrib)) for node in page.iter()] for page in pages]
    assert skeletons[0] == skeletons[1]
    tags = {node.tag for node in pages[1].iter()}
    assert not tags & {"script", "iframe", "object", "link", "a", "svg"}
    assert all(not attribute.startswith("on") for node in pages[1].iter() for attribute in node.attrib)
    for name in plots(pages[1]):
        drawn = {node.tag.rpartition("}")[2] for node in image(pages[1], name).iter()}
        assert not drawn & {"script", "iframe", "foreignObject", "a"}
    assert HOSTILE[0] in text_of(pages[1])
    assert not re.search("[\x00-\x09\x0b-\x1f\u202a-\u202e]", (tmp_path / "report.html").read_text(encoding="utf-8"))


def _with_names(task: Task, names: tuple[str, ...]) -> Manifest:
    broken = candidate("refused", proof(task, faults=names))
    of = manifest(task, names, candidates=[broken])
    if task == "regression":
        of = of.model_copy(update={"labels": names[:1]})
    source = of.provenance.model_copy(update={"base_model": names[1], "versions": {names[2]: names[0]}})
    return of.model_copy(update={"provenance": source})


def test_hostile_labels_are_drawn_as_they_are(tmp_path: Path) -> None:
    """A plot's labels keep dollars, markup, other scripts and emoji; what is unprintable is written out."""
    text = plots(report(tmp_path, manifest(labels=HOSTILE)))["Confusion matrix"].split("|")
    expected = ["<script>alert(1)</script>", "ביקורת שלילית", "\\u202ereversed", "好评 हिन्दी 😀 👩‍🔬", "-->]]>"]
    assert set(expected) <= set(text)
    assert "$x_{1}^2$ & \\frac" in text
    assert any(each.startswith("two\\nlines\\r\\t") for each in text)
    assert all(len(each) <= 28 for each in text if "long" in each)


def test_page_loads_and_runs_nothing(tmp_path: Path) -> None:
    """The policy allows images within the page and its one style sheet, by its hash; nothing in the page needs more."""
    page = report(tmp_path, manifest())
    (policy,) = [node.attrib["content"] for node in page.iter("meta") if "http-equiv" in node.attrib]
    (style,) = page.iter("style")
    digest = base64.b64encode(hashlib.sha256(text_of(style).encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    attributes = {name for node in page.iter() for name in node.attrib}
    assert not attributes & {"style", "href", "srcset"}
    assert all(node.attrib["src"].startswith(SVG) for node in page.iter() if "src" in node.attrib)
    for name in plots(page):
        drawn = [each for node in image(page, name).iter() for each in node.attrib.items()]
        assert all(value.startswith(("#", "data:")) for attribute, value in drawn if attribute.endswith("href"))
    assert "://" not in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("task", list(METRICS))
def test_same_input_same_bytes(tmp_path: Path, task: Task) -> None:
    """A report depends on nothing but what it is made from."""
    report(tmp_path / "a", manifest(task))
    report(tmp_path / "b", manifest(task))
    assert (tmp_path / "a/report.html").read_bytes() == (tmp_path / "b/report.html").read_bytes()


def test_matplotlib_settings_of_the_machine_do_not_matter(tmp_path: Path) -> None:
    """Whoever has other defaults gets the same report, and keeps them."""
    from matplotlib import rc_context, rcParams

    before = "matplotlib.pyplot" in sys.modules
    report(tmp_path / "a", manifest())
    with rc_context({"font.size": 20, "text.color": "red", "lines.linewidth": 9, "svg.fonttype": "path"}):
        report(tmp_path / "b", manifest())
        assert rcParams["font.size"] == 20
    assert (tmp_path / "a/report.html").read_bytes() == (tmp_path / "b/report.html").read_bytes()
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_many_labels(tmp_path: Path) -> None:
    """77 labels, all confused with all, stand on both axes in a page below 1.5 MB."""
    labels = tuple(f"a label of some length {place}" for place in range(77))
    of = manifest(labels=labels)
    page = report(tmp_path, of, replace(evidence(of), confusion=np.full((77, 77), 3) + 20 * np.eye(77, dtype=np.int64)))
    text = plots(page)["Confusion matrix"].split("|")
    assert all(text.count(label) == 2 for label in labels)
    assert len([line for line in rows(page) if re.fullmatch(r".*\|3\|1\.2%", line)]) == 20
    assert (tmp_path / "report.html").stat().st_size < 1_500_000


def test_two_labels_with_wide_names(tmp_path: Path) -> None:
    """Names far longer than the matrix is wide leave it its size and give no warning."""
    page = report(tmp_path, manifest(labels=("W" * 300, "你" * 300)))
    text = plots(page)["Confusion matrix"].split("|")
    assert text.count("W" * 18 + "…" + "W" * 9) == 2
    assert text.count("你" * 9 + "…" + "你" * 4) == 2


def test_more_labels_than_can_be_drawn(tmp_path: Path) -> None:
    """Of very many labels the matrix shows those that are confused, and says so."""
    counts = 9 * np.eye(200, dtype=np.int64)
    counts[199, 3] = 4
    of = manifest(labels=tuple(f"label {place}" for place in range(200)))
    page = report(tmp_path, of, replace(evidence(of), confusion=counts))
    assert {"label 3", "label 199"} <= set(plots(page)["Confusion matrix"].split("|"))
    assert "Only the 120 labels that are confused most are drawn." in text_of(page)
    assert "label 199|label 3|4|30.8%" in rows(page)


def test_many_numbers(tmp_path: Path) -> None:
    """A scatter plot of very many texts draws some of them and says how many."""
    true = np.linspace(0, 1, 10_000)
    page = report(tmp_path, manifest("regression"), Evidence([], scatter=(true, true)))
    assert "3000 of 10000 texts" in text_of(page)
    assert (tmp_path / "report.html").stat().st_size < 500_000


def test_numbers_that_do_not_vary(tmp_path: Path) -> None:
    """A model that always predicts the one true number has a plot."""
    same = np.full(5, 2.0)
    assert "Predicted against true numbers" in plots(
        report(tmp_path, manifest("regression"), Evidence([], scatter=(same, same)))
    )


def test_whole_or_not_at_all(tmp_path: Path) -> None:
    """A folder in the report's place is left alone, with one clear line."""
    (tmp_path / "report.html").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        report(tmp_path, manifest())
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
