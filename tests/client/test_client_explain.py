"""Explanations by the sync and the async client, and on the command line."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError
from rich.console import Console

from bertwire.v1 import classifier_pb2 as pb
from bertwire_cli.classify import ClassifyConfig, run_classify
from bertwire_cli.explained import explained
from bertwire_client import AsyncClient, Attribution, Client, Explanation

if TYPE_CHECKING:
    from fake import FakeServer

SPANS = (Attribution(0, 1, False, 0.5, 0.25), Attribution(2, 4, False, -0.25, -0.125))


async def explain(kind: str, address: str, text: Any, **options: Any) -> Explanation:  # noqa: ANN401 - wrong types too
    """Make one call by the client of that kind."""
    if kind == "sync":
        with Client(address) as client:
            return client.explain(text, **options)
    async with AsyncClient(address) as client:
        return await client.explain(text, **options)


both = pytest.mark.parametrize("kind", ["sync", "async"])


@both
async def test_explanation_holds_everything_the_server_said(kind: str, fake: FakeServer) -> None:
    """Return every field of the response, typed and in order; ask with nothing but the text."""
    found = await explain(kind, fake.address, "a bc")
    assert found == Explanation("fake", "7", "long", 2, 0.75, SPANS, False)
    assert fake.explained == [pb.ExplainRequest(text="a bc", priority=pb.PRIORITY_NORMAL)]
    assert not fake.explained[0].HasField("text_pair")


@both
async def test_options_reach_the_server(kind: str, fake: FakeServer) -> None:
    """Send the options that are set, with metadata."""
    found = await explain(
        kind,
        fake.address,
        "a",
        text_pair="abcd",
        label="short",
        max_spans=3,
        model="m",
        model_version="2",
        truncation="left",
        priority="low",
        metadata=[("x-request-id", "r-1")],
    )
    assert fake.explained == [
        pb.ExplainRequest(
            text="a",
            text_pair="abcd",
            label="short",
            max_spans=3,
            model="m",
            model_version="2",
            truncation=pb.TRUNCATION_LEFT,
            priority=pb.PRIORITY_LOW,
        )
    ]
    assert fake.metadata[0]["x-request-id"] == "r-1"
    assert [each.in_text_pair for each in found.spans] == [False, True]


@both
async def test_overload_is_retried(kind: str, fake: FakeServer) -> None:
    """Send the call again after the time that the server says."""
    fake.pushback = "1"
    assert (await explain(kind, fake.address, "a bc")).spans == SPANS
    assert len(fake.explained) == 2


@both
@pytest.mark.parametrize(
    ("text", "options", "kind_of_error", "message"),
    [
        (5, {}, TypeError, "text is not a string but int"),
        ("a", {"text_pair": 5}, TypeError, "text_pair is not a string but int"),
        ("\ud800", {}, ValueError, "UTF-8"),
        ("a", {"priority": "urgent"}, ValueError, "priority is 'urgent'"),
        ("a", {"truncation": "middle"}, ValueError, "truncation is 'middle'"),
        ("a", {"top_k": 1}, TypeError, "explain has no option 'top_k'"),
    ],
)
async def test_wrong_options_are_told_at_once(
    kind: str, text: object, options: dict[str, Any], kind_of_error: type[Exception], message: str, fake: FakeServer
) -> None:
    """Raise before anything is sent."""
    with pytest.raises(kind_of_error, match=message):
        await explain(kind, fake.address, text, **options)
    assert not fake.explained


def test_classify_explains(fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Show the label, the text and its words, strongest first, below the usual table."""
    run_classify(ClassifyConfig(address=fake.address, texts=["a [b]"], explain=True, label="short", max_spans=2))
    shown = capsys.readouterr().out
    lines = shown[shown.index("short: score 0.7500, logit +2.0000") :].splitlines()
    assert lines[1].strip() == "a [b]"
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert rows == [["a", "+0.5000", "+0.2500"], ["[b", "-0.2500", "-0.1250"]]
    (request,) = fake.explained
    assert (request.label, request.max_spans) == ("short", 2)


@both
async def test_rules_are_named(kind: str, fake: FakeServer) -> None:
    """Those that match the text."""
    assert (await explain(kind, fake.address, "a refund")).rules == ("refund",)


@pytest.mark.parametrize(("rules", "green", "red"), [((), "bad", "w1"), (("a", "b"), "w1", "bad")])
def test_colours_are_of_what_was_answered(rules: tuple[str, ...], green: str, red: str) -> None:
    """Of the logit; where rules match of the score, which is with them, and a line names them."""
    spans = (Attribution(0, 2, False, -0.5, 0.25), Attribution(3, 6, False, 0.5, -0.25))
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=100)
    console.print(explained("w1 bad", None, Explanation("fake", "7", "long", 2, 0.75, spans, False, rules)))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    named = "rules a, b: the score and the colours are with them, the logit is without"
    assert lines[1:2] == [named] or not rules
    text = lines[1 + bool(rules)]
    assert f"\x1b[1;32m{green}\x1b[0m" in text
    assert f"\x1b[1;31m{red}\x1b[0m" in text


def test_classify_explains_as_json(fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Add the explanation to each text's object; without --explain there is none."""
    for explains in (True, False):
        run_classify(ClassifyConfig(address=fake.address, texts=["a bc", "d"], explain=explains, as_json=True))
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [each["text"] for each in found] == ["a bc", "d"]
        assert [each.get("explanation", {}).get("label") for each in found] == ["long" if explains else None] * 2


@pytest.mark.parametrize("option", [{"label": "x"}, {"max_spans": 3}])
def test_options_of_an_explanation_need_it(option: dict[str, Any]) -> None:
    """Refuse them without --explain."""
    with pytest.raises(ValidationError, match="--label and --max-spans belong to --explain"):
        ClassifyConfig(address="a:1", texts=["a"], **option)
