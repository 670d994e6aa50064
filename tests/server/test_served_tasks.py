"""Every task over gRPC from a real server process, held against ONNX Runtime, tokenizers and scipy alone."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from scipy.special import expit, softmax
from seqeval.scheme import IOB2, Entities

from bertwire.v1 import classifier_pb2 as pb
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire_runtime.thresholds import Thresholds
from bertwire_runtime.tokenizer import Text, TextTokenizer
from bertwire_server.call import Call, current
from bertwire_server.errors import InvalidRequest
from bertwire_server.query import Query
from offline import Offline
from oip_support import Echo, Infer
from rows import LIMITS, MAX_LENGTH, ROWS, Made
from support import Serve, export_padded

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Served:
    """A server of a task's fp32 variant.

    Attributes:
        kind: the kind of rows that its model was trained on.
        offline: the variant by ONNX Runtime alone.
        stub: asks the server.
    """

    kind: str
    offline: Offline
    stub: ClassifierStub

    def ask(self, texts: list[str] | Pairs, **fields: object) -> list[pb.Result]:
        """Return the results of one call."""
        pairs = [text for text in texts if not isinstance(text, str)]
        firsts = [text if isinstance(text, str) else text[0] for text in texts]
        request = pb.ClassifyRequest(texts=firsts, text_pairs=[second for _, second in pairs], **fields)  # type: ignore[arg-type]
        return list(self.stub.Classify(request, timeout=20).results)

    def refusal(self, texts: list[str] | Pairs, **fields: object) -> str:
        """Return why a call is INVALID_ARGUMENT."""
        with pytest.raises(grpc.RpcError) as caught:
            self.ask(texts, **fields)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        return str(caught.value.details())


@pytest.fixture(scope="module", params=["packed", "padded"])
def start(
    request: pytest.FixtureRequest,
    serve: Serve,
    make_task: Callable[[str], Made],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Served]]:
    """Return a function that serves a kind's model in one layout, until the tests of that layout end."""
    with ExitStack() as stack:
        running: dict[str, Served] = {}

        def started(kind: str) -> Served:
            if kind not in running:
                made = make_task(kind)
                bundle = made.bundle
                if request.param == "padded":
                    output = tmp_path_factory.mktemp("padded") / kind
                    bundle = export_padded(made.checkpoint, output, variants=["fp32"], **LIMITS)
                server = stack.enter_context(serve(bundle, "--variant", "fp32"))
                channel = stack.enter_context(grpc.insecure_channel(server.address))
                running[kind] = Served(kind, Offline(bundle, f"fp32-{request.param}"), ClassifierStub(channel))
            return running[kind]

        yield started


@pytest.fixture(params=list(ROWS))
def served(request: pytest.FixtureRequest, start: Callable[[str], Served]) -> Served:
    """Serve each task."""
    return start(request.param)


def texts_of(kind: str, numbers: range) -> list[str] | Pairs:
    """Return rows of a kind as a server is sent them."""
    rows = [ROWS[kind](number) for number in numbers]
    if kind == "pairs":
        return [(row["text"], row["text_pair"]) for row in rows]
    return [" ".join(row["tokens"]) if kind == "token_classification" else row["text"] for row in rows]


def test_logits_and_scores_equal_offline(served: Served) -> None:
    """Answer with the logits, tokens and sorted scores of an independent computation."""
    manifest = served.offline.manifest
    texts = texts_of(served.kind, range(200, 240))
    encodings = served.offline.encode(texts)
    results = served.ask(texts, logits=True)
    for result, encoding, expected in zip(results, encodings, served.offline.each(texts), strict=True):
        np.testing.assert_allclose(result.logits, expected.ravel(), atol=1e-5)
        assert (result.token_count, result.truncated) == (len(encoding.ids), bool(encoding.overflowing))
        if served.kind == "token_classification":
            assert not result.labels
            continue
        scores = {
            "single_label": softmax(expected / manifest.calibration.temperature),
            "multi_label": expit(expected),
            "regression": expected,
        }[manifest.task]
        assert [each.label for each in result.labels] == [manifest.labels[index] for index in np.argsort(-scores)]
        np.testing.assert_allclose([each.score for each in result.labels], np.sort(scores)[::-1], atol=1e-5)
        assert not result.entities
        assert all(each.predicted for each in result.labels) or manifest.task != "regression"
    assert not any(each.logits for each in served.ask(texts))


def test_predicted_follows_thresholds(start: Callable[[str], Served]) -> None:
    """Several labels: apply the manifest's thresholds, before them the call's for all, before these the call's for one.

    `top_k` cuts whether labels are predicted or not.
    """
    served = start("multi_label")
    manifest = served.offline.manifest
    own = dict(zip(manifest.labels, manifest.calibration.thresholds, strict=True))
    texts = texts_of("multi_label", range(200, 216))
    seen = set()
    for fields, limits in (
        ({}, own),
        ({"threshold": 0.9}, dict.fromkeys(own, 0.9)),
        ({"threshold": 0}, dict.fromkeys(own, 0)),
        ({"thresholds": {"good": 1}}, own | {"good": 1}),
        ({"threshold": 1, "thresholds": {"bad": 0}}, dict.fromkeys(own, 1) | {"bad": 0}),
    ):
        for result, logits in zip(served.ask(texts, **fields), served.offline.each(texts), strict=True):
            scores = dict(zip(manifest.labels, expit(logits), strict=True))
            assert {each.label: each.predicted for each in result.labels} == {
                label: bool(score >= limits[label]) for label, score in scores.items()
            }
            seen.add(tuple(sorted(each.label for each in result.labels if each.predicted)))
    assert {(), ("bad",), ("good",), ("bad", "good"), ("bad", "good", "rare")} <= seen
    for count in (1, 2, 99):
        for found, every in zip(served.ask(texts, top_k=count), served.ask(texts), strict=True):
            assert list(found.labels) == list(every.labels)[:count]


def test_one_label_is_predicted_from_the_threshold_on(start: Callable[[str], Served]) -> None:
    """One label: predict the best unless it falls short of the call's threshold."""
    served = start("pairs")
    texts = texts_of("pairs", range(200, 210))
    for result in served.ask(texts):
        assert [each.predicted for each in result.labels] == [True, False]
    scores = sorted(result.labels[0].score for result in served.ask(texts))
    asked = float(np.float32(scores[5]))
    predicted = [each.predicted for result in served.ask(texts, threshold=asked) for each in result.labels]
    assert sum(predicted) == sum(score >= asked for score in scores)


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("multi_label", {"threshold": 1.5}, "threshold is 1.5"),
        ("multi_label", {"threshold": float("nan")}, "threshold is nan"),
        ("multi_label", {"thresholds": {"good": -0.5}}, "thresholds['good'] is -0.5"),
        ("multi_label", {"thresholds": {"ugly": 0.5}}, "names 'ugly'"),
        ("token_classification", {"thresholds": {"O": 0.5}}, "names 'O'"),
        ("token_classification", {"thresholds": {"B-x": 0.5}}, "names 'B-x'"),
        ("regression", {"threshold": 0.5}, "no threshold applies"),
        ("pairs", {"text_pairs": []}, "reads pairs of texts"),
        ("multi_label", {"text_pairs": ["w2"]}, "reads single texts"),
        ("pairs", {"text_pairs": ["w2", "w3"]}, "2 text_pairs for 1 texts"),
        ("pairs", {"text_pairs": [" "]}, r"texts[0] is blank"),
    ],
)
def test_refuses_what_the_task_has_not(
    start: Callable[[str], Served], kind: str, fields: dict[str, Any], words: str
) -> None:
    """Answer INVALID_ARGUMENT to options of another task, and to missing or needless second texts."""
    request = pb.ClassifyRequest(texts=["w1"], **({"text_pairs": ["w2"]} if kind == "pairs" else {} | fields) | fields)
    with pytest.raises(grpc.RpcError) as caught:
        start(kind).stub.Classify(request, timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in str(caught.value.details())


def test_truncates_on_either_side_or_refuses(served: Served) -> None:
    """Cut on the side that the call chooses, or refuse only texts that are too long."""
    words = [f"w{number}" for number in range(3 * MAX_LENGTH)]
    long: Any = " ".join(words)
    short: Any = "w1 w2"
    if served.kind == "pairs":
        long, short = (long, long), (short, short)
    for value, side in ((pb.TRUNCATION_LEFT, "left"), (pb.TRUNCATION_RIGHT, "right")):
        (result,) = served.ask([long], logits=True, truncation=value)
        assert (result.token_count, result.truncated) == (MAX_LENGTH, True)
        np.testing.assert_allclose(result.logits, served.offline.each([long], side)[0].ravel(), atol=1e-5)
    own = served.ask([long], logits=True)[0].logits
    assert own == served.ask([long], logits=True, truncation=pb.TRUNCATION_RIGHT)[0].logits
    assert own != served.ask([long], logits=True, truncation=pb.TRUNCATION_LEFT)[0].logits
    assert not served.ask([short], truncation=pb.TRUNCATION_REFUSE)[0].truncated
    refused = served.refusal([short, long], truncation=pb.TRUNCATION_REFUSE)
    assert f"texts[1] has more than the {MAX_LENGTH} tokens" in refused


def test_pairs_are_cut_as_in_training(start: Callable[[str], Served], make_task: Callable[[str], Made]) -> None:
    """Cut pairs of any lengths to the tokens of training's tokenizer, the longer text first."""
    from transformers import AutoTokenizer

    served = start("pairs")
    tokenizer = AutoTokenizer.from_pretrained(make_task("pairs").checkpoint)
    generator = random.Random(0)  # noqa: S311 - test data
    lengths = [(generator.randint(1, 20), generator.randint(1, 20)) for _ in range(40)]
    sides = [[" ".join(generator.choices(["w3", "w4", "goodxy"], k=size)) for size in both] for both in lengths]
    pairs = [(first, second) for first, second in sides]
    results = served.ask(pairs, logits=True)
    for side in ("right", "left"):
        tokenizer.truncation_side = side
        trained = tokenizer(*map(list, zip(*pairs, strict=True)), truncation="longest_first", max_length=MAX_LENGTH)
        mine = served.offline.encode(pairs, side)
        assert [each.ids for each in mine] == trained["input_ids"]
        assert [each.type_ids for each in mine] == trained["token_type_ids"]
    for result, expected in zip(results, served.offline.each(pairs), strict=True):
        np.testing.assert_allclose(result.logits, expected, atol=1e-5)


# A text, and what its entities are as a reader sees them.
SEEN = [
    ("\n w1 GOOD  bad  bad\n", ["GOOD  bad  bad"]),
    ("\U0001f642\U0001f468\u200d\U0001f469\u200d\U0001f467 good\tbad \U0001f642", ["good\tbad"]),
    ("w1 g\u00f3od w2", ["g\u00f3od"]),
    ("\u0130\u0130\u0130 go\u0301od\u0301 bad \u0130", ["go\u0301od\u0301 bad"]),
    ("w1\0 go\0od w2", ["go\0od"]),
    ("w1 " * 20 + "good", []),
]
# A text, and its words as a reader sees them.
WORDS_SEEN = [
    ("w1 (goodxy), w2.", ["w1", "(", "goodxy", ")", ",", "w2", "."]),
    ("p53-null", ["p53", "-", "null"]),
    ("\u4e2dgood\u6587 w1", ["\u4e2d", "good", "\u6587", "w1"]),
    ("\u0130\u0130 \ufb01x \u2126 good", ["\u0130\u0130", "\ufb01x", "\u2126", "good"]),
    ("\u2764\ufe0f w1 \U0001f44d\U0001f3fd", ["\u2764\ufe0f", "w1", "\U0001f44d\U0001f3fd"]),
    ("e\u0301te\u0301 \ud55c\uae00", ["e\u0301te\u0301", "\ud55c\uae00"]),
    ("a\u0301\u0323, w1", ["a\u0301\u0323", ",", "w1"]),
    ("\t\u3000w1\u00a0\u200bw2\0\r\n", ["w1", "w2"]),
    ("w1 " * 12 + "goodxyxyxy w2", ["w1"] * 12 + ["goodxyxyxy"]),
]


@pytest.mark.parametrize(("text", "expected"), WORDS_SEEN)
def test_words_are_what_a_reader_sees(task_base: Path, text: str, expected: list[str]) -> None:
    """Return whole words, whatever the tokenizer strips, folds, splits or cuts off."""
    tokenizer = TextTokenizer((task_base / "tokenizer.json").read_bytes(), MAX_LENGTH, "right", words=True)
    (encoded,) = tokenizer.encode([text])
    assert [text[start:end] for _, start, end in encoded.words] == expected


def test_word_cut_at_its_front_is_whole(task_base: Path) -> None:
    """Cut on the left amid a word, its first remaining token speaks for all of it, as in training."""
    tokenizer = TextTokenizer((task_base / "tokenizer.json").read_bytes(), 5, "left", words=True)
    text = "w1 goodxy w2"
    (encoded,) = tokenizer.encode([text])
    assert encoded.words == [(1, 3, 9), (3, 10, 12)]


@pytest.mark.parametrize(("text", "expected"), SEEN)
def test_entities_are_what_a_reader_sees(start: Callable[[str], Served], text: str, expected: list[str]) -> None:
    """Give offsets of whole words in the text as sent, whatever the tokenizer makes of its characters."""
    (result,) = start("token_classification").ask([text])
    assert [text[each.start : each.end] for each in result.entities] == expected
    assert {each.label for each in result.entities} <= {"x"}


def test_entities_equal_offline(start: Callable[[str], Served]) -> None:
    """Give the types, places and mean scores that seqeval makes of the tags of words' first tokens."""
    served = start("token_classification")
    labels = served.offline.manifest.labels
    generator = random.Random(1)  # noqa: S311 - test data
    words = ["good", "bad", "goodxy", "w1", "w2", "goodx", "bady"]
    texts = [" ".join(generator.choices(words, k=generator.randint(1, 20))) for _ in range(60)]
    encodings = served.offline.encode(texts)
    count = 0
    for result, text, encoding, logits in zip(
        served.ask(texts), texts, encodings, served.offline.each(texts), strict=True
    ):
        pieces = [token for token, word in enumerate(encoding.word_ids) if word != ([None, *encoding.word_ids])[token]]
        firsts = [token for token in pieces if encoding.word_ids[token] is not None]
        scores = softmax(logits[firsts], axis=-1)
        (found,) = Entities([[labels[place] for place in scores.argmax(axis=-1)]], IOB2).entities
        assert len(found) == len(result.entities)
        sent = text.split(" ")
        for mine, theirs in zip(result.entities, found, strict=True):
            assert text[mine.start : mine.end] == " ".join(sent[theirs.start : theirs.end])
            assert mine.label == theirs.tag
            expected = scores[theirs.start : theirs.end].max(axis=-1).mean()
            assert mine.score == pytest.approx(expected, abs=1e-5)
        kept = [each for each in result.entities if each.score >= 0.9]
        assert list(served.ask([text], thresholds={"x": 0.9})[0].entities) == pytest.approx(kept)
        count += len(found)
    assert count > 30


async def test_bad_thresholds_cost_no_run(made: Made) -> None:
    """Refuse thresholds that the model cannot decide by before a text is tokenized or run."""
    infer = Infer(Echo(made.manifest, []))
    current.set(Call("Classify"))
    texts: list[Text] = [("w1", "w2")] if made.manifest.text_pairs else ["w1"]
    with pytest.raises(InvalidRequest, match="threshold"):
        await infer.inference.predict(Query(texts, thresholds=Thresholds(all=2)))
    assert not infer.model.queries
