"""Loading, replacing and unloading, one step at a time, with real models in this process."""

import asyncio
import gc
import shutil
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from onnxruntime import InferenceSession

from bertwire_runtime.bundle import Bundle
from bertwire_runtime.predictor import Predictor
from bertwire_server.errors import ModelNotFound, ModelRefused, NotReady
from bertwire_server.model.model import Model, Serving
from bertwire_server.protocols.catalog import find
from bertwire_server.query import Query
from bertwire_server.repository.fleet import Fleet
from bertwire_server.repository.folder import Repository
from bertwire_server.repository.loader import Loader
from bertwire_server.repository.registry import Registry
from bertwire_server.repository.service import FleetObserver
from repositories import damage, put

QUERY = Query(["w1 w2"])


class Watched(FleetObserver):
    """A fleet of a repository, and what it told.

    Attributes:
        fleet: the fleet.
        serving: what it published last.
        events: what its observer was told.
        built: bundles that were built, by version.
        gate: loading waits until it is set.
    """

    def __init__(self, path: Path) -> None:
        self.serving: Mapping[str, bool] = {}
        self.events: list[tuple[str, str]] = []
        self.built: list[str] = []
        self._changed = asyncio.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.fleet = Fleet(Repository(path, None), Loader(None, self._build), Registry(), self._publish, self)

    def _build(self, bundle: Bundle) -> Model:
        self.built.append(bundle.manifest.version)
        self.gate.wait()
        return Model(Predictor(bundle, "fp32", "cpu", 1), Serving())

    def _publish(self, serving: Mapping[str, bool]) -> None:
        self.serving = serving
        self._changed.set()

    def load_ended(self, name: str, *, loaded: bool) -> None:
        """Note a load that ended."""
        self.events.append((name, "loaded" if loaded else "refused"))

    def taken(self, model: Model) -> None:
        """Note a model that takes traffic."""
        self.events.append((model.manifest.version, "taken"))

    def gone(self, model: Model) -> None:
        """Note a model that takes none any more."""
        self.events.append((model.manifest.version, "gone"))

    def states(self) -> dict[str, str]:
        """Return the state of each version."""
        return {each.version: each.state for each in self.fleet.entries()}

    async def until(self, version: str, state: str) -> None:
        """Wait until a version is in a state."""
        async with asyncio.timeout(60):
            while self.states().get(version) != state:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[Watched]:
    """Start a fleet."""
    it = Watched(path)
    try:
        await it.fleet.start()
        yield it
    finally:
        it.gate.set()
        await it.fleet.stop()


@pytest.fixture
def repository(bundle: Path, tmp_path: Path) -> Path:
    """Make versions 1 and 2 of the model mood."""
    for version in "12":
        put(bundle, tmp_path / "repository" / "mood" / version)
    return tmp_path / "repository"


async def test_cancelled_load_ends_whole(repository: Path, bundle: Path) -> None:
    """Finish a load whose caller has gone; answer by the old version until then."""
    async with watched(repository) as it:
        put(bundle, repository / "mood" / "3")
        it.gate.clear()
        load = asyncio.create_task(it.fleet.load("mood", "3"))
        await it.until("3", "LOADING")
        with it.fleet.lease("mood", "") as model:
            assert model.manifest.version == "2"
        with pytest.raises(NotReady, match="warming up"):
            it.fleet.lease("mood", "3")
        load.cancel()
        it.gate.set()
        await it.until("3", "READY")
        with it.fleet.lease("", "") as model:
            await model.predict(QUERY)
            assert model.manifest.version == "3"


async def test_operations_take_turns(repository: Path, bundle: Path) -> None:
    """Run loads, reloads and unloads one after the other, and load nothing twice."""
    async with watched(repository) as it:
        put(bundle, repository / "mood" / "3")
        await asyncio.gather(
            it.fleet.load("mood", "3"), it.fleet.reload(), it.fleet.load("mood"), it.fleet.unload("mood")
        )
        assert it.built == ["2", "1", "3"]
        assert it.states() == dict.fromkeys("123", "UNAVAILABLE")
        assert it.serving == {"": False, "mood": False, "mood/1": False, "mood/2": False, "mood/3": False}


async def test_model_that_ends_by_itself(repository: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Answer by another version when a model's scheduler ends, until a load brings it back."""
    async with watched(repository) as it:
        with it.fleet.lease("", "2") as model:
            await model.stop()
        await it.until("2", "UNAVAILABLE")
        assert "mood version 2 has stopped answering" in caplog.text
        assert (it.serving[""], it.serving["mood/2"]) == (True, False)
        with pytest.raises(NotReady, match="stopped answering"):
            it.fleet.lease("mood", "2")
        with it.fleet.lease("", "") as model:
            assert model.manifest.version == "1"
        await it.fleet.load("mood", "2")
        with it.fleet.lease("", "") as model:
            await model.predict(QUERY)
            assert model.manifest.version == "2"


async def test_stop_while_loading(repository: Path) -> None:
    """Stop the start after the bundle that is loading, and take nothing more into traffic."""
    it = Watched(repository)
    it.gate.clear()
    start = asyncio.create_task(it.fleet.start())
    await it.until("2", "LOADING")
    stop = asyncio.create_task(it.fleet.stop())
    await asyncio.sleep(0)
    it.gate.set()
    await asyncio.gather(start, stop)
    assert it.built == ["2"]
    assert (it.serving[""], it.events) == (False, [])


async def test_tells_no_path_of_the_key(repository: Path, tmp_path: Path) -> None:
    """Refuse a bundle for an unreadable public key without its path."""
    loader = Loader(tmp_path / "key.pem", lambda _: pytest.fail("built what no key has signed"))
    fleet = Fleet(Repository(repository, None), loader, Registry(), lambda _: None)
    with pytest.raises(ModelRefused, match="the public key") as caught:
        await fleet.load("mood", "1")
    assert "/" not in str(caught.value)
    await fleet.stop()


async def test_default_that_cannot_answer_leaves_the_old_one(repository: Path, bundle: Path) -> None:
    """Keep a name's version where the settings name one that is refused."""
    settings = repository / "models.toml"
    settings.write_text('[mood]\ndefault = "1"\naliases = { stable = "1" }')
    async with watched(repository) as it:
        damage(put(bundle, repository / "mood" / "3"))
        settings.write_text('[mood]\ndefault = "3"\naliases = { stable = "3" }')
        await it.fleet.reload()
        for version in ("", "stable"):
            with it.fleet.lease("mood", version) as model:
                assert model.manifest.version == "1"
        assert it.serving[""]


async def test_unforeseen_failure_is_masked(
    repository: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Log an unforeseen failure of a load, and tell clients only that it failed."""

    def exhausted(_: object) -> None:
        raise MemoryError("no 123 bytes left")

    async with watched(repository) as it:
        put(bundle, repository / "mood" / "3")
        monkeypatch.setattr(Model, "warm_up", exhausted)
        threads = set(threading.enumerate())
        with pytest.raises(ModelRefused, match=r"^mood version 3: the bundle cannot be loaded; the server's log has"):
            await it.fleet.load("mood", "3")
        for each in set(threading.enumerate()) - threads:
            if each.name in ("model", "layout", "tokenizer"):
                each.join(30)
                assert not each.is_alive()
        assert "no 123 bytes left" in caplog.text
        assert it.states() == {"1": "READY", "2": "READY", "3": "UNAVAILABLE"}


async def test_settings_hold_while_a_bundle_is_replaced(repository: Path, bundle: Path) -> None:
    """Apply a new alias at once, before the load that the same reload begins has ended."""
    async with watched(repository) as it:
        (repository / "models.toml").write_text('[mood]\naliases = { stable = "1" }')
        put(bundle, repository / "mood" / "3")
        it.gate.clear()
        reload = asyncio.create_task(it.fleet.reload())
        await it.until("3", "LOADING")
        with it.fleet.lease("mood", "stable") as model:
            assert model.manifest.version == "1"
        it.gate.set()
        await reload


def sessions() -> int:
    """Return how many sessions of ONNX Runtime are in memory."""
    return sum(type(each) is InferenceSession for each in gc.get_objects())


async def test_unload_waits_for_leases_and_frees(repository: Path) -> None:
    """Unload a version once no call uses it, and free its session then."""
    gc.collect()  # what other tests left
    async with watched(repository) as it:
        before = sessions()
        with it.fleet.lease("mood", "2") as model:
            unload = asyncio.create_task(it.fleet.unload("mood", "2"))
            await it.until("2", "UNLOADING")
            with pytest.raises(ModelNotFound, match="unloaded"):
                it.fleet.lease("mood", "2")
            await model.predict(QUERY)
            assert sessions() == before
        await unload
        assert sessions() == before - 1
        assert it.events[-1] == ("2", "gone")


async def test_refused_bundle_is_tried_again(repository: Path, bundle: Path) -> None:
    """Count each refusal at a load or reload by hand; by itself try a bundle again only once it has changed."""
    bad, refused = put(bundle, repository / "mood" / "3"), ("mood", "refused")
    damage(bad)
    (repository / "models.toml").write_text('[mood]\naliases = { stable = "3" }')
    async with watched(repository) as it:
        assert find(it.fleet, "mood", "stable").state == "UNAVAILABLE"
        await it.fleet.reload(again=False)
        assert it.events.count(refused) == 1
        await it.fleet.reload()
        damage(repository / "mood" / "2")
        for number in (3, 4):
            with pytest.raises(ModelRefused, match="is not what was sealed"):
                await it.fleet.load("mood", "2")
            assert it.events.count(refused) == number
        assert it.states() == {"1": "READY", "2": "READY", "3": "UNAVAILABLE"}
        for version in "23":
            shutil.rmtree(repository / "mood" / version)
            put(bundle, repository / "mood" / version)
        await it.fleet.reload(again=False)
        assert [(each.state, each.reason) for each in it.fleet.entries()] == [("READY", "")] * 3


async def test_models_come_and_go(repository: Path, bundle: Path) -> None:
    """Keep the default when a second model comes, load equal files once, and say what is left when all have gone."""
    async with watched(repository) as it:
        put(bundle, repository / "topic" / "1")
        shutil.copytree(repository / "mood" / "1", repository.parent / "copy")
        shutil.rmtree(repository / "mood" / "1")
        shutil.move(repository.parent / "copy", repository / "mood" / "1")
        await it.fleet.reload()
        assert it.built == ["2", "1", "1"]
        with it.fleet.lease("", "") as model:
            assert model.manifest.name == "mood"
        assert it.serving[""]
        for name in ("mood", "topic"):
            shutil.rmtree(repository / name)
        await it.fleet.reload()
        for name in ("", "mood"):
            with pytest.raises(ModelNotFound, match="this server has no"):
                it.fleet.lease(name, "")
