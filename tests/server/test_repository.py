"""Real servers of repositories: several models, versions and aliases, changed while they run."""

import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from bertwire.health import health_pb2, health_pb2_grpc
from bertwire.v1.classifier_pb2 import (
    MODEL_STATE_READY,
    MODEL_STATE_UNAVAILABLE,
    ClassifyRequest,
    ClassifyResponse,
    GetModelRequest,
    ListModelsRequest,
    Model,
)
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire.v1.repository_pb2 import LoadModelRequest, ReloadRequest, UnloadModelRequest
from bertwire.v1.repository_pb2_grpc import ModelRepositoryStub
from repositories import damage, point, put
from support import LABELS, Serve, bertwire

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
OTHER_LABELS = ["bad", "so-so", "good"]


class Asks:
    """Asks one server."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.classifier = ClassifierStub(channel)
        self.repository = ModelRepositoryStub(channel)
        self.health = health_pb2_grpc.HealthStub(channel)

    def classify(self, model: str = "", version: str = "") -> ClassifyResponse:
        """Asks a model."""
        request = ClassifyRequest(texts=["w1 w2"], model=model, model_version=version)
        response: ClassifyResponse = self.classifier.Classify(request, timeout=30)
        return response

    def answering(self, model: str = "", version: str = "") -> tuple[str, str]:
        """Name and version of who answers."""
        response = self.classify(model, version)
        return response.model, response.model_version

    def labels(self, model: str = "", version: str = "") -> set[str]:
        """The labels of who answers."""
        return {each.label for each in self.classify(model, version).results[0].labels}

    def models(self) -> dict[tuple[str, str], Model]:
        """All models."""
        return {(each.name, each.version): each for each in self.classifier.ListModels(ListModelsRequest()).models}

    def load(self, model: str, version: str = "") -> list[Model]:
        """Loads."""
        request = LoadModelRequest(model=model, model_version=version)
        return list(self.repository.LoadModel(request, timeout=60).models)

    def unload(self, model: str, version: str = "") -> None:
        """Unloads."""
        self.repository.UnloadModel(UnloadModelRequest(model=model, model_version=version), timeout=60)

    def reload(self) -> dict[tuple[str, str], Model]:
        """Reloads."""
        response = self.repository.Reload(ReloadRequest(), timeout=60)
        return {(each.name, each.version): each for each in response.models}

    def status(self, service: str) -> int:
        """What health says now."""
        return int(self.health.Check(health_pb2.HealthCheckRequest(service=service), timeout=30).status)

    def until(self, service: str, status: int) -> None:
        """Returns when health says so of a service."""
        for each in self.health.Watch(health_pb2.HealthCheckRequest(service=service), timeout=60):
            if each.status == status:
                return


@pytest.fixture
def repository(bundle: Path, tmp_path: Path) -> Path:
    """The model mood in versions 2, 9 and 10, and the model topic in version 1."""
    for place in ("mood/2", "mood/9", "mood/10", "topic/1"):
        put(bundle, tmp_path / "repository" / place)
    return tmp_path / "repository"


@pytest.fixture
def asks(serve: Serve, repository: Path) -> Iterator[Asks]:
    """A server of that repository, whose default model is mood."""
    with serve(repository, "--default-model", "mood") as server, grpc.insecure_channel(server.address) as channel:
        yield Asks(channel)


def refusal(call: object, *arguments: object) -> tuple[str, str]:
    """The code and message with which a call fails."""
    assert callable(call)
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    return caught.value.code().name, str(caught.value.details())


def test_names_and_versions(asks: Asks) -> None:
    """Each version is asked by name; without one the highest as numbers go answers, without a model the default one."""
    assert asks.answering() == ("mood", "10")
    assert asks.answering("mood") == ("mood", "10")
    assert asks.answering("mood", "2") == ("mood", "2")
    assert asks.answering("", "9") == ("mood", "9")
    assert asks.answering("topic") == ("topic", "1")
    assert refusal(asks.answering, "topic", "7") == (
        "NOT_FOUND",
        "no version '7' of model 'topic' here; this server has '1'",
    )
    assert refusal(asks.answering, "other") == (
        "NOT_FOUND",
        "no model 'other' here; this server has 'mood', 'topic'",
    )


def test_several_models_and_no_default(serve: Serve, repository: Path) -> None:
    """Where no model is the default one has to be named, and the server is healthy all the same."""
    with serve(repository) as server, grpc.insecure_channel(server.address) as channel:
        asks = Asks(channel)
        code, message = refusal(asks.answering)
        assert (code, message) == ("NOT_FOUND", "this server has several models; name one of 'mood', 'topic'")
        assert asks.status("") == SERVING


def test_settings_name_versions(serve: Serve, repository: Path) -> None:
    """models.toml says which versions are there, the default model and version, and aliases; a reload reads it anew."""
    settings = repository / "models.toml"
    settings.write_text(
        'default = "mood"\n[mood]\nversions = 2\ndefault = "9"\naliases = { stable = "9", canary = "10" }\n'
    )
    with serve(repository) as server, grpc.insecure_channel(server.address) as channel:
        asks = Asks(channel)
        assert asks.answering() == ("mood", "9")
        assert asks.answering("mood", "canary") == ("mood", "10")
        assert list(asks.models()) == [("mood", "9"), ("mood", "10"), ("topic", "1")]
        found = asks.classifier.GetModel(GetModelRequest(model="mood", model_version="stable"))
        assert (found.version, found.default, list(found.aliases)) == ("9", True, ["stable"])
        assert asks.status("mood/canary") == SERVING
        assert refusal(asks.answering, "mood", "7")[1].endswith("this server has '9', '10', 'canary', 'stable'")
        settings.write_text('default = "topic"\n[mood]\nversions = ["2", "10"]\naliases = { stable = "10" }\n')
        asks.reload()
        assert asks.answering() == ("topic", "1")
        assert asks.answering("mood", "stable") == ("mood", "10")
        assert refusal(asks.answering, "mood", "canary")[0] == "NOT_FOUND"
        assert list(asks.models()) == [("mood", "2"), ("mood", "10"), ("topic", "1")]
        settings.write_text('default = "nobody"')
        code, message = refusal(asks.reload)
        assert (code, message) == ("FAILED_PRECONDITION", "models.toml: default: the repository has no model 'nobody'")
        assert asks.answering() == ("topic", "1")


def test_lists_what_a_model_is(asks: Asks) -> None:
    """A listed model tells its task, labels, graph and what that scored."""
    found = asks.models()["topic", "1"]
    assert (found.state, found.default, found.reason) == (MODEL_STATE_READY, True, "")
    assert (found.task, found.text_pairs, list(found.labels), found.max_length) == ("single_label", False, LABELS, 32)
    assert (found.provider, found.precision in ("fp32", "int8"), found.variant != "") == ("cpu", True, True)
    assert 0 <= found.quality["accuracy"] <= 1
    assert refusal(asks.classifier.GetModel, GetModelRequest(model="other"))[0] == "NOT_FOUND"


def test_unload_and_load(asks: Asks) -> None:
    """What is unloaded is not found, stays so through a reload, and comes back when it is loaded by name."""
    asks.unload("mood", "10")
    assert asks.answering("mood") == ("mood", "9")
    assert refusal(asks.answering, "mood", "10")[0] == "NOT_FOUND"
    assert asks.models()["mood", "10"].reason == "unloaded"
    assert asks.status("mood/10") == NOT_SERVING
    asks.reload()
    assert refusal(asks.answering, "mood", "10")[0] == "NOT_FOUND"
    assert [each.version for each in asks.load("mood", "10")] == ["10"]
    assert asks.answering("mood") == ("mood", "10")
    asks.unload("mood")
    assert refusal(asks.answering) == refusal(asks.answering, "mood", "2")
    assert (asks.status("mood"), asks.status(""), asks.status("topic")) == (NOT_SERVING, NOT_SERVING, SERVING)
    assert refusal(asks.unload, "mood")[0] == "NOT_FOUND"
    assert [each.version for each in asks.load("mood")] == ["2", "9", "10"]
    assert (asks.answering(), asks.status("")) == (("mood", "10"), SERVING)
    assert refusal(asks.load, "mood", "7") == ("NOT_FOUND", "the repository has no version '7' of model 'mood'")
    assert refusal(asks.load, "../mood")[0] == "NOT_FOUND"
    assert refusal(asks.load, "")[0] == refusal(asks.unload, "")[0] == "INVALID_ARGUMENT"


def test_new_and_gone_versions(asks: Asks, repository: Path, bundle: Path) -> None:
    """A reload takes a new version into traffic and drops one whose folder has gone; health has a name for each."""
    put(bundle, repository / "mood" / "11")
    shutil.rmtree(repository / "mood" / "2")
    assert asks.answering("mood") == ("mood", "10")
    assert list(asks.reload()) == [("mood", "9"), ("mood", "10"), ("mood", "11"), ("topic", "1")]
    assert asks.answering() == ("mood", "11")
    assert asks.status("mood/11") == SERVING
    assert refusal(asks.status, "mood/2")[0] == "NOT_FOUND"


@pytest.mark.parametrize("how", ["reload", "load"])
def test_damaged_bundle_leaves_the_old_one(asks: Asks, repository: Path, bundle: Path, how: str) -> None:
    """A bundle that fails its seal is told, without any path; what was served goes on, and health is as it was."""
    damage(put(bundle, repository / "mood" / "11"))
    damage(repository / "topic" / "1")
    if how == "reload":
        found = asks.reload()
        assert found["mood", "11"].state == MODEL_STATE_UNAVAILABLE
        reasons = [found["mood", "11"].reason, found["topic", "1"].reason]
    else:
        results = [refusal(asks.load, "mood", "11"), refusal(asks.load, "topic")]
        assert {code for code, _ in results} == {"FAILED_PRECONDITION"}
        reasons = [message for _, message in results]
    assert all("is not what was sealed" in each and "/" not in each for each in reasons)
    assert asks.answering() == ("mood", "10")
    assert asks.answering("topic") == ("topic", "1")
    assert (asks.status(""), asks.status("mood"), asks.status("topic")) == (SERVING,) * 3
    code, message = refusal(asks.answering, "mood", "11")
    assert code == "UNAVAILABLE"
    assert "is not what was sealed" in message
    shutil.rmtree(repository / "mood" / "11")
    put(bundle, repository / "mood" / "11")
    assert [each.version for each in asks.load("mood", "11")] == ["11"]
    assert asks.answering() == ("mood", "11")


def test_folder_must_say_what_it_holds(asks: Asks, repository: Path) -> None:
    """A bundle in a folder of another name is not served under either."""
    shutil.copytree(repository / "topic" / "1", repository / "mood" / "12")
    assert asks.reload()["mood", "12"].reason == "the bundle is topic version 1; give its folders these names"


def test_truncated_and_unreadable_files(asks: Asks, repository: Path, bundle: Path) -> None:
    """A folder that a full disk left incomplete, or that cannot be read, is not served; the others are."""
    cut = put(bundle, repository / "mood" / "11")
    graph = max(cut.iterdir(), key=lambda each: each.stat().st_size)
    graph.write_bytes(graph.read_bytes()[:-1000])
    odd = put(bundle, repository / "mood" / "12")
    (odd / "tokenizer.json").unlink()
    (odd / "tokenizer.json").mkdir()
    (repository / "mood" / "13").mkdir()
    found = asks.reload()
    assert "bytes" in found["mood", "11"].reason
    assert "no plain file" in found["mood", "12"].reason
    assert "manifest.json is missing" in found["mood", "13"].reason
    assert asks.answering() == ("mood", "10")


def test_bundle_replaced_in_place(serve: Serve, bundle: Path, tmp_path: Path) -> None:
    """SIGHUP takes over a single bundle whose folder now holds another one of the same name and version."""
    first, second = (
        put(bundle, tmp_path / each / "mood" / "1", labels) for each, labels in (("a", None), ("b", OTHER_LABELS))
    )
    served = tmp_path / "served"
    point(served, first)
    with serve(served) as server, grpc.insecure_channel(server.address) as channel:
        asks = Asks(channel)
        assert asks.labels() == set(LABELS)
        damaged = put(bundle, tmp_path / "c" / "mood" / "1", OTHER_LABELS)
        damage(damaged)
        point(served, damaged)
        assert refusal(asks.reload)[0] == "FAILED_PRECONDITION"
        assert asks.labels() == set(LABELS)
        point(served, second)
        server.process.send_signal(signal.SIGHUP)
        while asks.labels() == set(LABELS):
            pass
        assert asks.labels() == set(OTHER_LABELS)
        assert asks.status("") == SERVING


def test_watches_the_folder(serve: Serve, bundle: Path, tmp_path: Path) -> None:
    """With --watch-seconds a new version is taken over by itself, and one that is half copied only once it is whole."""
    put(bundle, tmp_path / "repository" / "mood" / "1")
    whole = put(bundle, tmp_path / "elsewhere" / "mood" / "2")
    names = sorted(each.name for each in whole.iterdir())
    with (
        serve(tmp_path / "repository", "--watch-seconds", 0.05) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        asks = Asks(channel)
        target = tmp_path / "repository" / "mood" / "2"
        target.mkdir()
        for name in names[:-1]:
            shutil.copyfile(whole / name, target / name)
        asks.until("mood/2", NOT_SERVING)
        assert asks.answering() == ("mood", "1")
        shutil.copyfile(whole / names[-1], target / names[-1])
        asks.until("mood/2", SERVING)
        assert asks.answering() == ("mood", "2")
        shutil.rmtree(target)
        asks.until("mood/2", UNKNOWN)
        assert asks.answering() == ("mood", "1")


@pytest.mark.timeout(300)
def test_reload_under_load(serve: Serve, bundle: Path, tmp_path: Path) -> None:
    """A bundle replaced 20 times under load: every request is answered, by the one or by the other."""
    versions = [
        put(bundle, tmp_path / each / "mood" / "1", labels) for each, labels in (("a", LABELS), ("b", OTHER_LABELS))
    ]
    (tmp_path / "repository" / "mood").mkdir(parents=True)
    place = tmp_path / "repository" / "mood" / "1"
    point(place, versions[0])
    seen: Counter[str] = Counter()
    failures: list[grpc.RpcError] = []
    done = threading.Event()

    def hammer(address: str) -> None:
        with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            asks = Asks(channel)
            while not done.is_set():
                try:
                    seen[min(asks.labels())] += 1
                except grpc.RpcError as error:
                    failures.append(error)
                    return

    with serve(tmp_path / "repository") as server, grpc.insecure_channel(server.address) as channel:
        threads = [threading.Thread(target=hammer, args=(server.address,)) for _ in range(4)]
        for each in threads:
            each.start()
        asks = Asks(channel)
        try:
            for number in range(1, 21):
                point(place, versions[number % 2])
                assert [each.state for each in asks.reload().values()] == [MODEL_STATE_READY]
                assert asks.labels() == set((LABELS, OTHER_LABELS)[number % 2])
        finally:
            done.set()
            for each in threads:
                each.join()
    assert failures == []
    assert set(seen) == {min(LABELS), min(OTHER_LABELS)}


def test_unload_answers_what_is_in_flight(serve: Serve, bundle: Path, tmp_path: Path) -> None:
    """Calls that a model has when it is unloaded are answered, and later ones are refused."""
    put(bundle, tmp_path / "repository" / "mood" / "1")
    put(bundle, tmp_path / "repository" / "topic" / "1")
    with (
        serve(tmp_path / "repository", "--max-batch-ms", 0.001) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        asks = Asks(channel)
        request = ClassifyRequest(texts=["w1 w2"] * 500, model="mood")
        calls = [asks.classifier.Classify.future(request, timeout=60) for _ in range(10)]
        # What is sent after them on the same connection comes after them.
        asks.status("")
        asks.unload("mood")
        assert [len(call.result().results) for call in calls] == [500] * 10
        assert refusal(asks.answering, "mood")[0] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('default = "nobody"', "models.toml: default: the repository has no model 'nobody'"),
        ('[mood]\nversoin = "1"', "models.toml: mood.versoin: no such setting; is versions meant?"),
        (
            '[mood]\ndefault = "3"\n[a]',
            "mood.default: the repository has no version '3' of it; a: the repository has no",
        ),
        ("[mood", "models.toml: is not TOML"),
    ],
)
def test_refuses_faulty_settings(repository: Path, settings: str, words: str) -> None:
    """A fault of models.toml ends the start with one line that names it."""
    (repository / "models.toml").write_text(settings)
    command = bertwire("serve", repository, "--port", 0, python=sys.executable)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert words in done.stderr


def test_refuses_what_is_neither(bundle: Path, tmp_path: Path) -> None:
    """A folder without a bundle, a default model that is not there, and a repository of bad bundles: no server."""

    def fault(path: Path, *options: object) -> str:
        command = bertwire("serve", path, "--port", 0, *options, python=sys.executable)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        return done.stderr

    assert "manifest.json is missing, so it is no bundle" in fault(tmp_path)
    shutil.copytree(bundle, tmp_path / "parent" / "mood")
    inner = tmp_path / "parent" / "mood"
    assert f"{inner.parent}: holds the bundle mood; serve {inner}, or make" in fault(inner.parent)
    damage(put(bundle, tmp_path / "mood" / "1"))
    assert "is not what was sealed" in fault(tmp_path)
    assert "--default-model: the repository has no model 'x'" in fault(tmp_path, "--default-model", "x")
    assert "--default-model: the bundle is of the model 'tiny'" in fault(bundle, "--default-model", "x")


def test_bad_version_does_not_keep_others_from_starting(serve: Serve, repository: Path) -> None:
    """A server starts with what can be served; the highest good version answers."""
    damage(repository / "mood" / "10")
    with serve(repository) as server, grpc.insecure_channel(server.address) as channel:
        assert Asks(channel).answering("mood") == ("mood", "9")
