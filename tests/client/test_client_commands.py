"""The commands that ask a server: `bertwire classify` and `bertwire models`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bertwire.v1 import classifier_pb2 as pb
from bertwire_cli.classify import ClassifyConfig, run_classify
from bertwire_cli.models import ModelConfig, ServerConfig, run_list, run_load, run_reload, run_unload
from bertwire_client import Admin, FailedPreconditionError, NotFoundError
from bertwire_core.errors import UserError
from fake import FakeServer


def classify(address: str, *texts: str, **options: Any) -> None:  # noqa: ANN401 - each its own type
    """Runs `bertwire classify`."""
    run_classify(ClassifyConfig(address=address, texts=list(texts), **options))


def test_classify_prints_a_table(fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels with their scores, best first; a text's square brackets are no markup."""
    classify(fake.address, "[b]a", "x" * 30, top_k=1)
    lines = [line for line in capsys.readouterr().out.splitlines() if "short" in line or "long" in line]
    assert [line.split("│")[1:5] for line in lines] == [
        [" [b]a                           ", " short ", " 0.9000 ", " yes       "],
        [f" {'x' * 30} ", " long  ", " 0.7500 ", " yes       "],
    ]


def test_classify_says_what_was_cut(fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A long text is shown by its start."""
    classify(fake.address, "x" * 1000, "short")
    shown = capsys.readouterr().out
    assert "cut to 1000 tokens: xxx" in shown
    assert 200 <= shown.count("x") <= 1000
    assert "cut to 5" not in shown


def test_classify_of_other_tasks(fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Entities are shown as what they are in the text, numbers as they are."""
    fake.model.task = "token_classification"
    classify(fake.address, "Oslo is cold")
    shown = capsys.readouterr().out
    assert ("Oslo " in shown, "is cold" in shown, "WORD" in shown) == (True, False, True)
    fake.model.task = "regression"
    classify(fake.address, "a")
    assert "1.5000" in capsys.readouterr().out


def test_classify_prints_json(fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """An object a text, a line each; options and pairs reach the server."""
    classify(fake.address, "a", "b", text_pair=["c", "d"], model="m", model_version="2", threshold=0.5, as_json=True)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["text"], second["text"], first["model"], first["model_version"]) == ("a", "b", "m", "7")
    assert first["labels"][0].keys() == {"label", "score", "predicted"}
    (request,) = fake.requests
    assert (list(request.text_pairs), request.model_version, request.threshold) == (["c", "d"], "2", 0.5)
    assert (request.priority, request.truncation) == (pb.PRIORITY_NORMAL, pb.TRUNCATION_UNSPECIFIED)
    classify(fake.address, "a", priority="high", truncation="refuse")
    assert (fake.requests[1].priority, fake.requests[1].truncation) == (pb.PRIORITY_HIGH, pb.TRUNCATION_REFUSE)


def test_classify_says_what_is_wrong(fake: FakeServer, nowhere: str) -> None:
    """Pairs that do not fit, what the server refuses, and a server that is not there are one line."""
    with pytest.raises(UserError, match="1 text_pairs for 2 texts"):
        classify(fake.address, "a", "b", text_pair=["c"])
    with pytest.raises(UserError, match="INVALID_ARGUMENT: text 0 is bad"):
        classify(fake.address, "bad")
    with pytest.raises(UserError, match="UNAVAILABLE"):
        classify(nowhere, "a")


def test_models_are_listed_loaded_and_unloaded(fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command shows what the server has then."""
    fake.model.MergeFrom(pb.Model(aliases=["best"], default=True, variant="int8-packed", provider="cpu"))
    run_list(ServerConfig(address=fake.address))
    shown = capsys.readouterr().out
    assert all(word in shown for word in ["fake", "7, best, default", "ready", "single_label", "int8-packed", "cpu"])
    run_load(ModelConfig(address=fake.address, model="fake", model_version="8", as_json=True))
    (model,) = json.loads(capsys.readouterr().out)
    assert (model["version"], model["state"]) == ("8", "ready")
    run_unload(ModelConfig(address=fake.address, model="fake"))
    assert "unloading" in capsys.readouterr().out
    with pytest.raises(UserError, match="refused: fake"):
        run_reload(ServerConfig(address=fake.address))
    shown = capsys.readouterr().out
    assert "unavailable" in shown
    assert "fake 8: no [file]" in shown.splitlines()


def test_admin_errors(fake: FakeServer) -> None:
    """A bundle that cannot be served and a model that is not there have their own errors."""
    with Admin(fake.address) as admin:
        assert [model.version for model in admin.load("fake")] == ["7"]
        with pytest.raises(FailedPreconditionError, match="the seal is broken"):
            admin.load("broken")
        with pytest.raises(NotFoundError):
            admin.unload("other")
        assert [model.state for model in admin.reload()] == ["unavailable"]
        assert admin.classify(["a"]).results[0].label == "short"
