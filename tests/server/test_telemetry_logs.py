"""The log: its forms, the line of a call, and that no text of a request is in it unasked."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import grpc
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, pre_tokenizers

from bertwire.v1.classifier_pb2 import ClassifyRequest
from bertwire_core.errors import UserError
from bertwire_core.options import validated
from bertwire_server.call import Call, current
from bertwire_server.telemetry.config import TelemetryConfig
from bertwire_server.telemetry.logs import handler, log_call
from bertwire_server.telemetry.tracing import Trace

# Its value stands nowhere else: a trace quotes the lines of this file.
WORD = "plugh"
OK, NOT_FOUND = grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND


@pytest.fixture
def call() -> Iterator[Call]:
    """Set a call under way in the current context."""
    made = Call("/bertwire.v1.Classifier/Classify", "r-1", "ann", "mood", "3", texts=2)
    token = current.set(made)
    yield made
    current.reset(token)


@contextmanager
def logged(form: Literal["text", "json"], level: int = logging.DEBUG) -> Iterator[io.StringIO]:
    """Yield what the project's loggers write meanwhile."""
    stream = io.StringIO()
    logger, to = logging.getLogger("bertwire_server"), handler(form, stream)
    before = logger.level
    logger.addHandler(to)
    logger.setLevel(level)
    try:
        yield stream
    finally:
        logger.removeHandler(to)
        logger.setLevel(before)


def test_json_names_the_request(call: Call) -> None:
    """Write an object with the time, the logger, and the call in which it was logged."""

    class Span:
        trace_id = "0af7651916cd43dd8448eb211c80319c"

    call.trace = cast(Trace, Span())
    with logged("json") as stream:
        logging.getLogger("bertwire_server.edge").warning("%d things\nhappened", 2)
    found = json.loads(stream.getvalue())
    assert found.pop("timestamp").endswith("+00:00")
    assert found == {
        "level": "WARNING",
        "logger": "bertwire_server.edge",
        "message": "2 things\nhappened",
        "request_id": "r-1",
        "client": "ann",
        "trace_id": Span.trace_id,
    }


def test_outside_calls_nothing_is_added() -> None:
    """Write no fields of a call outside of one."""
    with logged("json") as stream:
        logging.getLogger("bertwire_server.app").info("ready")
    assert set(json.loads(stream.getvalue())) == {"timestamp", "level", "logger", "message"}
    with logged("text") as stream:
        logging.getLogger("bertwire_server.app").info("ready")
    assert stream.getvalue().endswith("INFO bertwire_server.app: ready\n")


def test_client_cannot_write_lines(call: Call) -> None:
    """Replace a line break in a client's name, which would begin a line of the log."""
    call.client = "ann\n2026-01-01 ERROR forged"
    with logged("text") as stream:
        logging.getLogger("bertwire_server.edge").info("x")
    assert stream.getvalue().endswith(": x (request_id=r-1 client=ann?2026-01-01 ERROR forged)\n")
    assert stream.getvalue().count("\n") == 1


def test_line_of_a_call(call: Call) -> None:
    """Write one line at debug, in words and in fields; none at info."""
    with logged("json") as stream:
        log_call(call, OK, 0.0042, with_texts=False)
    found = json.loads(stream.getvalue())
    assert found["message"] == "/bertwire.v1.Classifier/Classify OK, 2 texts of mood 3, 4.200 ms"
    fields = ("method", "model", "model_version", "code", "texts", "milliseconds", "request_id")
    assert [found[name] for name in fields] == [call.method, "mood", "3", "OK", 2, 4.2, "r-1"]
    with logged("json", logging.INFO) as stream:
        log_call(call, OK, 0.0042, with_texts=True)
    assert stream.getvalue() == ""


def test_line_of_a_call_that_was_refused_at_once() -> None:
    """Name request and client although no task was begun for the call."""
    refused = Call("/bertwire.v1.Classifier/Classify", "r-2", "bob")
    with logged("json") as stream:
        log_call(refused, grpc.StatusCode.PERMISSION_DENIED, 0.001, with_texts=False)
    found = json.loads(stream.getvalue())
    assert (found["request_id"], found["client"], found["code"]) == ("r-2", "bob", "PERMISSION_DENIED")
    assert "call" not in found


def test_line_of_a_call_that_failed(call: Call) -> None:
    """Write the reason and the peer, and of a stream how many of its messages failed."""
    call.failures = {"INVALID_ARGUMENT": 4}
    told = "no model 'a\nb' here"
    with logged("json") as stream:
        log_call(call, NOT_FOUND, 0.001, with_texts=False, reason=told, peer=lambda: "ipv4:192.0.2.1:5")
    found = json.loads(stream.getvalue())
    assert found["message"].endswith(", 4 messages INVALID_ARGUMENT: no model 'a?b' here (to ipv4:192.0.2.1:5)")
    assert (found["reason"], found["peer"], found["failures"]) == (
        "no model 'a?b' here",
        "ipv4:192.0.2.1:5",
        {"INVALID_ARGUMENT": 4},
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_texts_only_when_asked_and_masked(call: Call, form: Literal["text", "json"]) -> None:
    """Write no text unless asked, and then with identifiers masked."""
    call.content = ["I am ann@example.org", ("card 4111111111111111", "yes")]
    with logged(form) as stream:
        log_call(call, OK, 0.1, with_texts=False)
        logging.getLogger("bertwire_server.edge").info("%r", call)
    assert "I am" not in stream.getvalue()
    with logged(form) as stream:
        log_call(call, OK, 0.1, with_texts=True)
    assert "I am [e-mail]" in stream.getvalue()
    assert "card [card] | yes" in stream.getvalue()
    assert "4111" not in stream.getvalue()


@pytest.mark.parametrize("before", range(3960, 4004))
def test_long_text_is_not_cut_within_an_identifier(call: Call, before: int) -> None:
    """Show no part of a number, wherever a long text is cut."""
    call.content = ["1. " + "ann@example.org " * 245 + " " * (before - 3923) + "4111 1111 1111 1111 and so on"]
    with logged("text") as stream:
        log_call(call, OK, 0.1, with_texts=True)
    assert "4111" not in stream.getvalue()


def _unknown_word() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.encode_batch([f"{WORD} words"])


def _tokenizer(texts: list[Any]) -> None:
    Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")).encode_batch(texts)  # noqa: S106 - no password


def _engine(feeds: dict[str, Any]) -> None:
    table = helper.make_tensor("table", TensorProto.FLOAT, [2, 1], [1.0, 2.0])
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["out"])],
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [table],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feeds)


FAILURES: dict[str, Callable[[], object]] = {
    "tokenizer without a token for unknown words": _unknown_word,
    "tokenizer given half a character": lambda: _tokenizer([f"{WORD}\ud800"]),
    "tokenizer given no text": lambda: _tokenizer([WORD, 7]),
    "tokenizer given half a pair": lambda: _tokenizer([(WORD, 7)]),
    "engine given an id that it does not know": lambda: _engine({"ids": np.array([99])}),
    "engine given text": lambda: _engine({"ids": np.array([WORD])}),
    "engine given another shape": lambda: _engine({"ids": np.array([[1]])}),
    "engine given another name": lambda: _engine({"other": np.array([WORD])}),
    "message that is none": lambda: ClassifyRequest.FromString(b"\x0a\x08" + WORD.encode() + b"\xff\xff"),
    "message given bytes": lambda: ClassifyRequest(texts=[WORD.encode() + b"\xff"]),  # type: ignore[list-item]
    "message given half a character": lambda: ClassifyRequest(texts=[f"{WORD}\ud800"]),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("form", ["text", "json"])
def test_stack_trace_holds_no_text(failure: str, form: Literal["text", "json"]) -> None:
    """Write the trace of a library's error without the text that it quotes."""
    with logged(form) as stream:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - of three libraries, each with its own
            FAILURES[failure]()
        logging.getLogger("bertwire_server.edge").error("failed", exc_info=caught.value)
    assert "Traceback" in stream.getvalue()
    assert WORD not in stream.getvalue()


def test_settings_that_cannot_work() -> None:
    """Refuse `--log-texts` without debug, where no line has texts, and a collector without a scheme."""
    with pytest.raises(UserError, match="--log-texts logs nothing at --log-level info; set it to debug"):
        validated(TelemetryConfig, {"log_texts": True})
    assert validated(TelemetryConfig, {"log_texts": True, "log_level": "debug"}).log_texts
    with pytest.raises(UserError, match="--otlp-endpoint"):
        validated(TelemetryConfig, {"otlp_endpoint": "collector:4317"})
