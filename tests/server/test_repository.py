"""Real servers of repositories: several models, versions and aliases, changed while they run."""

import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from bertwire.health import health_pb2, health_pb2_grpc
from bertwire_client import Admin, RequestError
from bertwire_client.replies import ModelInfo
from repositories import damage, point, put
from support import LABELS, Serve, bertwire

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
OTHER_LABELS = ["bad", "so-so", "good"]


class Asks(Admin):
    """A client of one server that also asks for its health."""

    def __init__(self, address: str) -> None:
        super().__init__(address, attempts=1, timeout=60)
        self._own = grpc.insecure_channel(address)
        self._health = health_pb2_grpc.HealthStub(self._own)

    def close(self) -> None:
        """Close both connections."""
        super().close()
        self._own.close()

    def answering(self, model: str = "", version: str = "") -> tuple[str, str]:
        """Return name and version of the model that answers."""
        reply = self.classify(["w1 w2"], model=model, model_version=version)
        return reply.model, reply.model_version

    def labels(self) -> set[str]:
        """Return the labels of the model that answers."""
        return {each.label for each in self.classify(["w1 w2"]).results[0].labels}

    def models(self) -> dict[tuple[str, str], ModelInfo]:
        """Return all models by name and version."""
        return {(each.name, each.version): each for each in self.list_models()}

    def status(self, service: str) -> int:
        """Return the health of a service."""
        try:
            return int(self._health.Check(health_pb2.HealthCheckRequest(service=service), timeout=30).status)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return int(UNKNOWN)

    def until(self, service: str, status: int) -> None:
        """Wait until health reports a status of a service."""
        for each in self._health.Watch(health_pb2.HealthCheckRequest(service=service), timeout=60):
            if each.status == status:
                return


@pytest.fixture
def repository(bundle: Path, tmp_path: Path) -> Path:
    """Make the model mood in versions 2, 9 and 10, and the model topic in version 1."""
    for place in ("mood/2", "mood/9", "mood/10", "topic/1"):
        put(bundle, tmp_path / "repository" / place)
    return tmp_path / "repository"


@pytest.fixture
def asks(serve: Serve, repository: Path) -> Iterator[Asks]:
    """Serve that repository with the default model mood."""
    with serve(repository, "--default-model", "mood") as server, Asks(server.address) as asks:
        yield asks


def refusal(call: Callable[..., object], *arguments: str) -> tuple[str, str]:
    """Return the code and message with which a call fails."""
    with pytest.raises(RequestError) as caught:
        call(*arguments)
    return caught.value.code.name, caught.value.message


def test_names_and_versions(asks: Asks) -> None:
    """Answer by name and version, else by the highest version and the default model; describe each model."""
    assert asks.answering() == asks.answering("mood") == ("mood", "10")
    assert asks.answering("mood", "2") == ("mood", "2")
    assert asks.answering("", "9") == ("mood", "9")
    found = asks.models()["topic", "1"]
    assert (found.state, found.default, found.reason) == ("ready", True, "")
    assert (found.task, found.text_pairs, found.labels, found.max_length) == ("single_label", False, tuple(LABELS), 32)
    assert (found.provider, found.precision in ("fp32", "int8"), found.variant != "") == ("cpu", True, True)
    assert 0 <= found.quality["accuracy"] <= 1
    other = "no model 'other' here; this server has 'mood', 'topic'"
    assert refusal(asks.answering, "other") == ("NOT_FOUND", other)
    assert refusal(asks.get_model, "other")[0] == "NOT_FOUND"
    version = "no version '7' of model 'topic' here; this server has '1'"
    assert refusal(asks.answering, "topic", "7") == ("NOT_FOUND", version)


def test_settings_name_versions(serve: Serve, repository: Path) -> None:
    """Take versions, defaults and aliases from models.toml, anew at each reload; without it no model is the default."""
    settings = repository / "models.toml"
    with serve(repository) as server, Asks(server.address) as asks:
        several = "this server has several models: 'mood', 'topic'; name the one to ask (--model of the commands)"
        assert refusal(asks.answering) == ("NOT_FOUND", several)
        assert asks.status("") == SERVING
        settings.write_text(
            'default = "mood"\n[mood]\nversions = 2\ndefault = "9"\naliases = { stable = "9", canary = "10" }\n'
        )
        asks.reload()
        assert asks.answering() == ("mood", "9")
        assert asks.answering("mood", "canary") == ("mood", "10")
        assert list(asks.models()) == [("mood", "9"), ("mood", "10"), ("topic", "1")]
        found = asks.get_model("mood", "stable")
        assert (found.version, found.default, found.aliases) == ("9", True, ("stable",))
        assert asks.status("mood/canary") == SERVING
        assert refusal(asks.answering, "mood", "7")[1].endswith("this server has '9', '10', 'canary', 'stable'")
        settings.write_text('default = "topic"\n[mood]\nversions = ["2", "10"]\naliases = { stable = "10" }\n')
        asks.reload()
        assert asks.answering() == ("topic", "1")
        assert asks.answering("mood", "stable") == ("mood", "10")
        assert refusal(asks.answering, "mood", "canary")[0] == "NOT_FOUND"
        settings.write_text('default = "nobody"')
        fault = "models.toml: default: the repository has no model 'nobody'"
        assert refusal(asks.reload) == ("FAILED_PRECONDITION", fault)
        assert asks.answering() == ("topic", "1")


def test_bad_bundles_leave_the_old_ones(asks: Asks, repository: Path, bundle: Path) -> None:
    """Give the reason without a path at reload, load and call; go on with what was served, and take the mended one."""
    damage(put(bundle, repository / "mood" / "11"))
    shutil.copytree(repository / "topic" / "1", repository / "mood" / "12")
    (repository / "mood" / "13").mkdir()
    damage(repository / "topic" / "1")
    asks.reload()
    found = asks.models()
    assert found["mood", "11"].state == "unavailable"
    assert found["mood", "12"].reason == "the bundle is topic version 1; give its folders these names"
    assert "manifest.json is missing" in found["mood", "13"].reason
    results = [refusal(asks.load, "mood", "11"), refusal(asks.load, "topic"), refusal(asks.answering, "mood", "11")]
    assert [code for code, _ in results] == ["FAILED_PRECONDITION"] * 2 + ["UNAVAILABLE"]
    for reason in (found["mood", "11"].reason, found["topic", "1"].reason, *(message for _, message in results)):
        assert "is not what was sealed" in reason
        assert "/" not in reason
    assert (asks.answering(), asks.answering("topic")) == (("mood", "10"), ("topic", "1"))
    assert (asks.status(""), asks.status("mood"), asks.status("topic")) == (SERVING,) * 3
    shutil.rmtree(repository / "mood" / "11")
    put(bundle, repository / "mood" / "11")
    assert [each.version for each in asks.load("mood", "11")] == ["11"]
    assert asks.answering() == ("mood", "11")


def test_unload_and_load(asks: Asks) -> None:
    """Keep what is unloaded so through a reload, until it is loaded by name."""
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


def test_bundle_replaced_in_place(serve: Serve, bundle: Path, tmp_path: Path) -> None:
    """Take over, at SIGHUP, another bundle of the same name and version in a single bundle's folder."""
    first, second = (
        put(bundle, tmp_path / each / "mood" / "1", labels) for each, labels in (("a", None), ("b", OTHER_LABELS))
    )
    served = tmp_path / "served"
    point(served, first)
    with serve(served) as server, Asks(server.address) as asks:
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
    """Take over a new version with --watch-seconds, only once it is whole, and drop one that has gone."""
    put(bundle, tmp_path / "repository" / "mood" / "1")
    whole = put(bundle, tmp_path / "elsewhere" / "mood" / "2")
    names = sorted(each.name for each in whole.iterdir())
    with serve(tmp_path / "repository", "--watch-seconds", 0.05) as server, Asks(server.address) as asks:
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


def test_reload_under_load(serve: Serve, bundle: Path, tmp_path: Path) -> None:
    """Answer every request by the old or the new bundle while one is replaced 20 times under load."""
    versions = [
        put(bundle, tmp_path / each / "mood" / "1", labels) for each, labels in (("a", LABELS), ("b", OTHER_LABELS))
    ]
    (tmp_path / "repository" / "mood").mkdir(parents=True)
    place = tmp_path / "repository" / "mood" / "1"
    point(place, versions[0])
    seen: Counter[str] = Counter()
    done = threading.Event()

    def hammer(asks: Asks) -> None:
        while not done.is_set():
            seen[min(asks.labels())] += 1

    with serve(tmp_path / "repository") as server, Asks(server.address) as asks, ThreadPoolExecutor(4) as threads:
        hammering = [threads.submit(hammer, asks) for _ in range(4)]
        try:
            for number in range(1, 21):
                point(place, versions[number % 2])
                assert [each.state for each in asks.reload()] == ["ready"]
                assert asks.labels() == set((LABELS, OTHER_LABELS)[number % 2])
        finally:
            done.set()
        assert [each.result() for each in hammering] == [None] * 4
    assert set(seen) == {min(LABELS), min(OTHER_LABELS)}


def test_refuses_what_is_neither(bundle: Path, tmp_path: Path) -> None:
    """Exit with one line of error for a folder without a bundle, bad bundles, bad settings and an unknown default."""

    def fault(path: Path, *options: object) -> str:
        command = bertwire("serve", path, "--port", 0, *options, python=sys.executable)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        *log, line = done.stderr.splitlines()
        assert done.returncode == 1
        assert line.startswith("bertwire: error: ")
        assert all(" ERROR bertwire_server.repository.service: " in each for each in log)
        return line

    assert "manifest.json is missing, so it is no bundle" in fault(tmp_path)
    inner = Path(shutil.copytree(bundle, tmp_path / "parent" / "mood"))
    assert f"{inner.parent}: holds the bundle mood; serve {inner}, or make" in fault(inner.parent)
    damage(put(bundle, tmp_path / "mood" / "1"))
    assert "is not what was sealed" in fault(tmp_path)
    assert "--default-model: the repository has no model 'x'" in fault(tmp_path, "--default-model", "x")
    assert "--default-model: the bundle is of the model 'tiny'" in fault(bundle, "--default-model", "x")
    (tmp_path / "models.toml").write_text('[mood]\ndefault = "3"\n[a]')
    faults = "models.toml: mood.default: the repository has no version '3' of it; a: the repository has no"
    assert faults in fault(tmp_path)
