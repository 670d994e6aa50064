"""Explanations of a real server, proven against models whose logits are known and against `Classify`."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import numpy as np
import pytest

from bags import logits, make_bag, table
from bertwire.v1 import classifier_pb2 as pb
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire_client import Client, InvalidArgumentError
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.predictor import Predictor
from bertwire_server.call import Call, current
from bertwire_server.errors import Expired, listed
from bertwire_server.explain import Explainer, Part, grouped
from bertwire_server.inference import Inference, RequestLimits
from bertwire_server.model.model import Model, Serving
from bertwire_server.query import Query
from bertwire_server.repository.registry import Registry
from observing import Observer
from oip_support import Echo, EchoCatalog
from rows import Made
from support import LABELS, Serve

WEIGHTS = table()
MOST_SPANS = 6


@pytest.fixture(scope="module")
def stub(serve: Serve, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClassifierStub]:
    """Serve a bag of words with two rules, which lets few spans and characters through."""
    boost = {"name": "no-w9", "pattern": r"\bw9\b", "label": LABELS[2], "boost": 2}
    force = {"name": "w8", "pattern": r"\bw8\b", "label": LABELS[0], "force": True}
    folder = make_bag(bundle, tmp_path_factory.mktemp("bags") / "tiny", WEIGHTS, rules=[boost, force])
    options = ("--max-explain-spans", MOST_SPANS, "--max-text-chars", 1000, "--max-call-chars", 3000)
    with serve(folder, *options) as server, grpc.insecure_channel(server.address) as channel:
        yield ClassifierStub(channel)


def explain(stub: ClassifierStub, text: str, **fields: Any) -> pb.ExplainResponse:  # noqa: ANN401 - any field
    """Ask for an explanation."""
    response: pb.ExplainResponse = stub.Explain(pb.ExplainRequest(text=text, **fields), timeout=20)
    return response


def classify(stub: ClassifierStub, *texts: str) -> list[pb.Result]:
    """Classify texts, with logits."""
    return list(stub.Classify(pb.ClassifyRequest(texts=texts, logits=True), timeout=20).results)


def refusal(stub: ClassifierStub, text: str, **fields: Any) -> str:  # noqa: ANN401 - any field
    """Return why a call is INVALID_ARGUMENT."""
    with pytest.raises(grpc.RpcError) as caught:
        explain(stub, text, **fields)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return str(caught.value.details())


def test_words_of_a_bag_are_its_weights(stub: ClassifierStub) -> None:
    """Attribute to each word what the table has of it, which adds up to the logit without special tokens."""
    words = ["w1", "w2", "w30", "w4", "w5"]
    text = "  w1 w2,\tw30\u4e2dw4 ...  w5!"
    for label, name in enumerate(LABELS):
        found = explain(stub, text, label=name)
        assert (found.model, found.model_version, found.label) == ("tiny", "1", name)
        shown = [text[each.start : each.end] for each in found.spans]
        assert shown == ["w1", "w2", "w30", "\u4e2d", "w4", "w5"]
        known = {text[each.start : each.end]: each.logit for each in found.spans}
        places = {word: float((logits(WEIGHTS, word) - logits(WEIGHTS))[label]) for word in words}
        assert {word: known[word] for word in words} == places
        assert not any(each.in_text_pair for each in found.spans)
        (whole,) = classify(stub, text)
        assert found.logit == whole.logits[label]


def test_equals_classify_of_what_is_left(stub: ClassifierStub) -> None:
    """Give the differences of the texts' logits and scores, a rule's effect on a score included; the best label."""
    texts = ["w1 w9 w3", "w9 w2 w3", "w1 w2 w9", "w1 w2 w3"]
    for text in texts:
        words = text.split()
        left = [" ".join(words[:place] + words[place + 1 :]) for place in range(3)]
        whole, *rest = classify(stub, text, *left)
        label = LABELS.index(whole.labels[0].label)
        found = explain(stub, text)
        scores = [{each.label: each.score for each in result.labels}[found.label] for result in (whole, *rest)]
        assert (found.label, found.logit, found.score) == (LABELS[label], whole.logits[label], scores[0])
        assert list(found.rules) == list(whole.rules) == ["no-w9"] * ("w9" in words)
        np.testing.assert_allclose(
            [each.logit for each in found.spans], [whole.logits[label] - each.logits[label] for each in rest], atol=1e-6
        )
        np.testing.assert_allclose(
            [each.score for each in found.spans], [scores[0] - each for each in scores[1:]], atol=1e-6
        )


def test_rule_that_decides(stub: ClassifierStub) -> None:
    """Name the rule; the score says that its word alone decides, whatever the logits say of the others."""
    found = explain(stub, "w1 w8 w3")
    assert (list(found.rules), found.label, found.score) == (["w8"], LABELS[0], 1)
    first, forced, last = found.spans
    assert (first.score, last.score) == (0, 0)
    assert forced.score > 0
    assert first.logit
    assert last.logit


def test_neighbours_are_merged(stub: ClassifierStub) -> None:
    """With more words than spans, leave groups out whose sizes differ by one at most, and add up what is in them."""
    words = [f"w{number}" for number in range(11, 25)]
    text = " ".join(words)
    for asked, most in ((None, MOST_SPANS), (4, 4), (1, 1)):
        found = explain(stub, text, label=LABELS[0], max_spans=asked)
        groups = [text[each.start : each.end].split() for each in found.spans]
        assert [word for group in groups for word in group] == words
        assert len(groups) == most
        assert max(map(len, groups)) - min(map(len, groups)) <= 1
        expected = [float((logits(WEIGHTS, *group) - logits(WEIGHTS))[0]) for group in groups]
        assert [each.logit for each in found.spans] == expected


def test_what_was_cut_off_is_not_explained(stub: ClassifierStub) -> None:
    """Explain the words that the model reads, on the side that the caller keeps."""
    words = [f"w{number % 60}" for number in range(70)]
    text = " ".join(words)
    found = explain(stub, text)
    assert found.truncated
    assert text[: found.spans[-1].end].split() == words[:30]
    found = explain(stub, text, truncation=pb.TRUNCATION_LEFT)
    assert text[found.spans[0].start :].split() == words[-30:]
    assert "more than the 32 tokens" in refusal(stub, text, truncation=pb.TRUNCATION_REFUSE)


def test_text_of_one_word_and_of_none(stub: ClassifierStub) -> None:
    """Leave the only word out; find nothing to leave out of punctuation."""
    (span,) = explain(stub, "w7", label=LABELS[1]).spans
    assert span.logit == (logits(WEIGHTS, "w7") - logits(WEIGHTS))[1]
    assert not explain(stub, "?!").spans


@pytest.mark.parametrize(
    ("text", "fields", "reason"),
    [
        (" ", {}, "is blank"),
        ("w1", {"text_pair": "w2"}, "send no second text"),
        ("w1", {"label": "nope"}, f"label is 'nope', which the model does not know; it has {listed(LABELS)}"),
        ("w1", {"max_spans": 0}, "max_spans is 0; it must be 1 to 6, or unset"),
        ("w1", {"max_spans": 7}, "max_spans is 7; it must be 1 to 6"),
        ("w1", {"truncation": 9}, "truncation is 9"),
        ("w1", {"priority": 9}, "priority is 9"),
        ("w" * 1001, {}, "1001 characters; send at most 1000"),
        ("w1 " * 250, {}, r"^7 texts are run to explain this one: \d+ characters in one call; send at most 3000, or"),
    ],
)
def test_refusals(stub: ClassifierStub, text: str, fields: dict[str, Any], reason: str) -> None:
    """Say in one line what is wrong, the limits of all the texts that would be run included."""
    assert re.search(reason, refusal(stub, text, **fields))


def test_unknown_model(stub: ClassifierStub) -> None:
    """End with NOT_FOUND as `Classify` does."""
    with pytest.raises(grpc.RpcError) as caught:
        explain(stub, "w1", model="nope")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


class Counting(Observer):
    """Counts predictions and matches too."""

    def predicted(self, label: str, confidence: float) -> None:
        """Counts."""
        self.counts[label] += bool(confidence)

    def matched(self, rule: str) -> None:
        """Counts."""
        self.counts[rule] += 1


async def test_runs_as_a_call_of_many_texts(bundle: Path, tmp_path: Path) -> None:
    """Run all texts in one batch by the caller's deadline, record them, and count no decisions for texts made up."""
    rule = {"name": "always", "pattern": ".", "label": LABELS[2], "boost": 2}
    observer = Counting()
    opened = open_bundle(make_bag(bundle, tmp_path / "tiny", WEIGHTS, rules=[rule]))
    model = Model(Predictor(opened, threads=1), Serving(), observer)
    model.start()
    inference = Inference(cast(Registry, EchoCatalog(cast(Echo, model))), RequestLimits(50, 1000, 1000))
    explainer = Explainer(inference, 40)
    current.set(call := Call("Explain"))
    found = await explainer.explain(Query(["w1 w2 w3"]), "", None)
    assert found.whole.output.rules == ("always",)
    assert [len(ran.lengths) for ran in observer.runs] == [4]
    assert call.texts == 4
    assert not observer.counts
    with pytest.raises(Expired):
        await explainer.explain(Query(["w1 w2 w3"], deadline=0.0), "", None)
    assert observer.counts == {"expired": 1}
    await model.stop()


def test_texts_that_are_run_count(serve: Serve, bundle: Path, tmp_path: Path) -> None:
    """Take as many spans as --max-texts leaves beside the text; refuse where it leaves none."""
    folder = make_bag(bundle, tmp_path / "tiny", WEIGHTS)
    for most, spans in ((3, 2), (1, 0)):
        with serve(folder, "--max-texts", most) as server, Client(server.address) as client:
            if spans:
                assert len(client.explain("w1 w2 w3 w4").spans) == spans
                continue
            with pytest.raises(InvalidArgumentError, match="an explanation needs several"):
                client.explain("w1 w2")


def test_other_tasks(serve: Serve, make_task: Callable[[str], Made]) -> None:
    """Explain any label of several, the number of a regression, and words of both texts of a pair; tag no words."""
    texts = {"multi_label": ("w1 good bad", None), "regression": ("good bad w1", None), "pairs": ("w1 w2", "good")}
    for kind, (text, pair) in texts.items():
        made = make_task(kind)
        with serve(made.bundle, "--variant", "fp32") as server, Client(server.address) as client:
            whole = client.classify([text], text_pairs=None if pair is None else [pair], logits=True).results[0]
            for place, label in enumerate(made.manifest.labels):
                found = client.explain(text, text_pair=pair, label=label)
                assert found.logit == pytest.approx(whole.logits[place], abs=1e-5)
                sides = [(text, pair or "")[each.in_text_pair][each.start : each.end] for each in found.spans]
                assert sides == [*text.split(), *([] if pair is None else [pair])]
            best = client.explain(text, text_pair=pair, max_spans=1)
            assert best.label == whole.label
            assert len(best.spans) == (1 if pair is None else 2)
    reason = "only a label of a whole text can be explained"
    with (
        serve(make_task("token_classification").bundle) as server,
        Client(server.address) as client,
        pytest.raises(InvalidArgumentError, match=reason),
    ):
        client.explain("w1")


@pytest.mark.parametrize(
    ("counts", "most", "sizes"),
    [
        ((5, 0), 9, [1] * 5),
        ((7,), 3, [2, 2, 3]),
        ((6, 2), 4, [2, 2, 2, 2]),
        ((90, 1), 3, [45, 45, 1]),
        ((1, 90), 2, [1, 90]),
        ((3, 3), 1, [3, 3]),
        ((0, 0), 4, []),
    ],
)
def test_groups(counts: tuple[int, ...], most: int, sizes: list[int]) -> None:
    """Share the spans among both texts by their words, and give each text one."""
    words = [[(place, place + 1) for place in range(count)] for count in counts]
    parts = grouped(words, most)
    assert [part.end - part.start for part in parts] == sizes
    for text, count in enumerate(counts):
        assert [each for part in parts if part.text == text for each in range(part.start, part.end)] == [*range(count)]
    assert all(isinstance(each, Part) for each in parts)
