"""The sync and the async client against a real server."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from bertwire.v1 import classifier_pb2 as pb
from bertwire_client import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    Entity,
    FailedPreconditionError,
    InvalidArgumentError,
    LabelScore,
    NotFoundError,
    PermissionDeniedError,
    Reply,
    RequestError,
    ResourceExhaustedError,
    Timing,
    UnauthenticatedError,
    UnavailableError,
    UserError,
)

if TYPE_CHECKING:
    from fake import FakeServer


async def classify(kind: str, address: str, texts: Any, attempts: int = 4, **options: Any) -> Reply:  # noqa: ANN401 - wrong types too
    """Make one call by the client of that kind."""
    if kind == "sync":
        with Client(address, attempts=attempts) as client:
            return client.classify(texts, **options)
    async with AsyncClient(address, attempts=attempts) as client:
        return await client.classify(texts, **options)


both = pytest.mark.parametrize("kind", ["sync", "async"])


@both
async def test_reply_holds_everything_the_server_said(kind: str, fake: FakeServer) -> None:
    """Return every field of the response, typed and in order."""
    reply = await classify(kind, fake.address, ["short", "x" * 50], logits=True, model="named")
    assert (reply.model, reply.model_version) == ("named", "7")
    first, second = reply.results
    assert (first.label, round(first.score, 6)) == ("short", 0.9)
    assert second.labels == (LabelScore("long", 0.75, predicted=True), LabelScore("short", 0.25))
    assert (second.predicted, second.entities) == (("long",), ())
    assert (second.logits, second.token_count, second.truncated, first.truncated) == ((1.5, -0.5), 50, True, False)
    assert second.timing == Timing(1, 2, 3)


@both
async def test_options_reach_the_server(kind: str, fake: FakeServer) -> None:
    """Send the options that are set, and leave the others unset."""
    await classify(kind, fake.address, ["a"])
    assert fake.requests[0] == pb.ClassifyRequest(texts=["a"], priority=pb.PRIORITY_NORMAL)
    reply = await classify(
        kind,
        fake.address,
        ["a"],
        text_pairs=["b"],
        top_k=1,
        logits=True,
        model="m",
        model_version="2",
        threshold=0.0,
        thresholds={"short": 0.5},
        truncation="refuse",
        priority="high",
    )
    assert fake.requests[1] == pb.ClassifyRequest(
        texts=["a"],
        text_pairs=["b"],
        top_k=1,
        logits=True,
        model="m",
        model_version="2",
        threshold=0.0,
        thresholds={"short": 0.5},
        truncation=pb.TRUNCATION_REFUSE,
        priority=pb.PRIORITY_HIGH,
    )
    assert fake.requests[1].HasField("threshold")
    assert len(reply.results[0].labels) == 1


@both
async def test_metadata_go_along(kind: str, fake: FakeServer) -> None:
    """Send metadata with each try of a call."""
    fake.fail = lambda _: (grpc.StatusCode.RESOURCE_EXHAUSTED, "later") if len(fake.requests) == 1 else None
    fake.pushback = "1"
    await classify(kind, fake.address, ["a"], metadata=iter([("x-request-id", "r-1")]))
    assert [each["x-request-id"] for each in fake.metadata] == ["r-1", "r-1"]


@both
@pytest.mark.parametrize(
    ("options", "kind_of_error", "message"),
    [
        ({"texts": "one text"}, TypeError, "texts is a single string"),
        ({"texts": ["a", 5]}, TypeError, r"texts\[1\] is not a string but int"),
        ({"texts": ["\ud800"]}, ValueError, "UTF-8"),
        ({"text_pairs": ["b", "c"]}, ValueError, "2 text_pairs for 1 texts"),
        ({"text_pairs": "b"}, TypeError, "text_pairs is a single string"),
        ({"truncation": "middle"}, ValueError, "truncation is 'middle'; choose one of model, left"),
        ({"priority": "urgent"}, ValueError, "priority is 'urgent'"),
        ({"topk": 1}, TypeError, "topk"),
        ({"metadata": {"x-id": "a"}}, TypeError, "metadata are pairs of a name and a value"),
        ({"metadata": ["x-id"]}, TypeError, "metadata are pairs of a name and a value"),
        ({"metadata": [("X-Request-Id", "r-1")]}, ValueError, "cannot be named 'X-Request-Id'"),
        ({"metadata": [("grpc-timeout", "1S")]}, ValueError, "cannot be named"),
        ({"metadata": [("x-id", "a\nb")]}, ValueError, "the value of 'x-id' in metadata is not one line of ASCII"),
    ],
)
async def test_wrong_options_are_told_at_once(
    kind: str, options: dict[str, Any], kind_of_error: type[Exception], message: str, fake: FakeServer
) -> None:
    """Raise for texts of another type and options that cannot mean anything before anything is sent."""
    with pytest.raises(kind_of_error, match=message):
        await classify(kind, fake.address, **({"texts": ["a"]} | options))
    assert not fake.requests


@both
async def test_tasks_without_labels(kind: str, fake: FakeServer) -> None:
    """Return entities with their places and no label; return a number as a score."""
    fake.model.task = "token_classification"
    (result,) = (await classify(kind, fake.address, ["Oslo is cold"])).results
    assert result.entities == (Entity("WORD", 0, 4, 0.5),)
    assert (result.labels, result.predicted) == ((), ())
    with pytest.raises(ValueError, match="see entities"):
        _ = result.label
    fake.model.task = "regression"
    (result,) = (await classify(kind, fake.address, ["a"])).results
    assert (result.label, result.score, result.predicted) == ("length", 1.5, ("length",))


@both
@pytest.mark.parametrize(
    ("code", "kind_of_error"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgumentError),
        (grpc.StatusCode.NOT_FOUND, NotFoundError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhaustedError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceededError),
        (grpc.StatusCode.UNAUTHENTICATED, UnauthenticatedError),
        (grpc.StatusCode.PERMISSION_DENIED, PermissionDeniedError),
        (grpc.StatusCode.FAILED_PRECONDITION, FailedPreconditionError),
        (grpc.StatusCode.INTERNAL, RequestError),
    ],
)
async def test_status_codes_become_errors(
    kind: str, code: grpc.StatusCode, kind_of_error: type[RequestError], fake: FakeServer
) -> None:
    """Raise the error of each status code, with code and message, without another try."""
    fake.fail = lambda _: (code, "because")
    with pytest.raises(RequestError) as caught:
        await classify(kind, fake.address, ["a"])
    assert type(caught.value) is kind_of_error
    assert isinstance(caught.value, UserError)
    assert (caught.value.code, caught.value.message) == (code, "because")
    assert str(pickle.loads(pickle.dumps(caught.value))) == f"{code.name}: because"  # noqa: S301
    assert len(fake.requests) == 1


@both
async def test_overload_is_tried_again_when_the_server_says(kind: str, fake: FakeServer) -> None:
    """Try again after the time that RESOURCE_EXHAUSTED names, as often as `attempts` says."""
    fake.pushback = "30"
    failures = iter([(grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full")] * 2)
    fake.fail = lambda _: next(failures, None)
    started = time.monotonic()
    await classify(kind, fake.address, ["a"])
    assert time.monotonic() - started >= 2 * 0.03
    fake.fail = lambda _: (grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full")
    with pytest.raises(ResourceExhaustedError) as caught:
        await classify(kind, fake.address, ["a"], attempts=2)
    assert (len(fake.requests), caught.value.retry_after) == (3 + 2, 0.03)
    assert pickle.loads(pickle.dumps(caught.value)).retry_after == 0.03  # noqa: S301


@both
@pytest.mark.parametrize(("pushback", "retry_after"), [("60000", 60.0), ("-1", None), ("soon", None), (None, None)])
async def test_overload_is_told_where_waiting_is_vain(
    kind: str, pushback: str | None, retry_after: float | None, fake: FakeServer
) -> None:
    """Raise at once for a time past the deadline, one that means never, and none."""
    fake.pushback = pushback
    fake.fail = lambda _: (grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full")
    with pytest.raises(ResourceExhaustedError, match="queue is full") as caught:
        await classify(kind, fake.address, ["a"], timeout=30)
    assert (len(fake.requests), caught.value.retry_after) == (1, retry_after)


@both
@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_server_that_goes_is_tried_again(kind: str, code: grpc.StatusCode, fake: FakeServer) -> None:
    """Try again after a server that goes, with a call above gRPC's default retry buffer too."""
    failures = iter([(code, "going")] * 2)
    fake.fail = lambda _: next(failures, None)
    reply = await classify(kind, fake.address, ["x" * 400_000])
    assert reply.results[0].label == "long"
    assert len(fake.requests) == 3


@both
@pytest.mark.parametrize("attempts", [1, 2])
async def test_attempts_are_bounded(kind: str, attempts: int, fake: FakeServer) -> None:
    """Raise the last of `attempts` failures."""
    fake.fail = lambda _: (grpc.StatusCode.UNAVAILABLE, "warming up")
    with pytest.raises(UnavailableError, match="warming up"):
        await classify(kind, fake.address, ["a"], attempts=attempts)
    assert len(fake.requests) == attempts


@both
async def test_deadline_holds(kind: str, fake: FakeServer) -> None:
    """Raise at the call's own timeout where the server does not answer."""
    release = threading.Event()

    def hang(_: pb.ClassifyRequest) -> None:
        release.wait(30)

    fake.fail = hang
    try:
        with pytest.raises(DeadlineExceededError):
            await classify(kind, fake.address, ["a"], timeout=0.05)
    finally:
        release.set()


def test_attempts_out_of_range_are_refused() -> None:
    """Raise for more tries than gRPC makes."""
    with pytest.raises(ValueError, match="1 to 5"):
        Client("localhost:1", attempts=6)


async def test_models_are_listed(fake: FakeServer) -> None:
    """Return what the server says of its models; raise for one that it does not have."""
    fake.model.MergeFrom(pb.Model(aliases=["best"], default=True, labels=["long", "short"], quality={"f1": 0.5}))
    with Client(fake.address) as client:
        assert client.list_models() == [client.get_model("fake")]
        model = client.get_model()
        with pytest.raises(NotFoundError, match="no model 'x'"):
            client.get_model("x")
    assert (model.name, model.version, model.aliases, model.state) == ("fake", "7", ("best",), "ready")
    assert (model.default, model.labels, model.quality) == (True, ("long", "short"), {"f1": 0.5})
    fake.model.state = 77  # type: ignore[assignment]
    async with AsyncClient(fake.address) as other:
        assert [each.state for each in await other.list_models()] == ["unknown"]
        assert (await other.get_model()).task == "single_label"


def test_base_install_is_enough() -> None:
    """Load nothing that only the extras install."""
    heavy = "{'typer', 'rich', 'pydantic', 'pyarrow', 'numpy', 'torch'}"
    code = (
        f"from bertwire_client import AsyncClient, Client; import sys; sys.exit(str({heavy} & set(sys.modules) or ''))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr.strip() == ""


def test_grpc_is_loaded_for_calls_alone() -> None:
    """Import errors, command line and bundles without grpc; raise for a name that the package does not have."""
    code = "import bertwire_cli.main, bertwire_runtime.bundle, sys; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    with pytest.raises(ImportError, match="Klient"):
        exec("from bertwire_client import Klient")  # noqa: S102 - mypy would find it too
