"""How many cores count, by what the kernel says of affinity, hardware threads and cgroups."""

import os
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from bertwire_runtime import cores
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.cores import run_threads, shares, usable_cores
from bertwire_runtime.engine import Engine

ELSE = "22 27 0:21 / /proc rw - proc proc rw\n23 27 0:22 / /odd rw - tmpfs  rw\n"
VERSION_2 = {
    "proc/self/cgroup": "0::/pods/one\n",
    "proc/self/mountinfo": ELSE + "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
}
VERSION_1 = {
    "proc/self/cgroup": "5:memory:/other\n4:cpu,cpuacct:/docker/one/two\n0::/\n",
    # In a container the root of the mount is the container's own cgroup.
    "proc/self/mountinfo": ELSE
    + "31 23 0:27 /docker/one /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    + "32 23 0:28 /docker/one /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
}
HERE_1 = "sys/fs/cgroup/cpu,cpuacct"


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of eight CPUs, all of which may be used."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)


def made(root: Path, *trees: Mapping[str, str]) -> Path:
    """Writes what the kernel would show."""
    for name, content in (item for tree in trees for item in tree.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def quota_1(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    """The files of version 1."""
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"sys/fs/cgroup/pods/one/cpu.max": "max 100000\n"}, 8),
        ({"sys/fs/cgroup/pods/one/cpu.max": "250000 100000\n"}, 2),
        ({"sys/fs/cgroup/pods/one/cpu.max": "50000 100000\n"}, 1),
        ({"sys/fs/cgroup/pods/one/cpu.max": "1600000 100000\n"}, 8),
        # The least of all that the process is in.
        ({"sys/fs/cgroup/pods/one/cpu.max": "max 100000\n", "sys/fs/cgroup/pods/cpu.max": "30000 10000\n"}, 3),
        ({"sys/fs/cgroup/pods/one/cpu.max": "400000 100000\n", "sys/fs/cgroup/cpu.max": "500000 100000\n"}, 4),
        ({"sys/fs/cgroup/pods/two/cpu.max": "100000 100000\n"}, 8),
    ],
)
def test_quota_of_version_2(tmp_path: Path, files: Mapping[str, str], expected: int) -> None:
    """The quota is rounded down, and counts for all below its cgroup."""
    assert usable_cores(made(tmp_path, VERSION_2, files)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (quota_1(HERE_1, -1), 8),
        (quota_1(HERE_1, 250_000), 2),
        (quota_1(f"{HERE_1}/two", 150_000, 50_000), 3),
        (quota_1("sys/fs/cgroup/memory", 100_000), 8),
    ],
)
def test_quota_of_version_1(tmp_path: Path, files: Mapping[str, str], expected: int) -> None:
    """The same where each controller has a hierarchy of its own, of which a container sees a part."""
    assert usable_cores(made(tmp_path, VERSION_1, files)) == expected


def test_cgroup_namespace_of_version_1(tmp_path: Path) -> None:
    """A path that the mount does not show stands for the mount's root."""
    elsewhere = VERSION_1 | {"proc/self/cgroup": "4:cpu,cpuacct:/../else\n"}
    assert usable_cores(made(tmp_path, elsewhere, quota_1(HERE_1, 200_000))) == 2


def test_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPUs that the process may not be scheduled on do not count; hardware threads of one core count once."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert usable_cores(tmp_path) == run_threads(0, tmp_path) == 3
    siblings = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    made(tmp_path, {siblings.format(0): "0-1\n", siblings.format(1): "0-1\n", siblings.format(2): "2-3\n"})
    assert usable_cores(tmp_path) == run_threads(0, tmp_path) == 2


def test_what_is_asked_for_counts(tmp_path: Path) -> None:
    """A number is taken as it is; 0 is left to ONNX Runtime, unless something is limited."""
    assert (run_threads(5, tmp_path), run_threads(0, tmp_path)) == (5, 0)
    limited = made(tmp_path, VERSION_2, {"sys/fs/cgroup/pods/cpu.max": "200000 100000\n"})
    assert (run_threads(5, limited), run_threads(0, limited)) == (5, 2)


def test_engine_starts_so_many_threads(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime computes on the caller's thread, and on as many more as there are further cores."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(cores, "usable_cores", lambda _: 4)
    opened = open_bundle(bundle)
    started = []
    for threads in (1, 0):
        before = psutil.Process().num_threads()
        engine = Engine(opened, opened.manifest.variants[0], "cpu", threads)
        started.append(psutil.Process().num_threads() - before)
        engine.close()
    assert started == [0, 3]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [[0, 4, 1, 5, 2, 6, 3, 7]]),
        (2, [[0, 4, 1, 5], [2, 6, 3, 7]]),
        (3, [[0, 4], [1, 5], [2, 6, 3, 7]]),
        (6, [[0, 4], [1, 5], [2, 6], [3, 7], [0, 4], [1, 5]]),
    ],
)
def test_shares_keep_hardware_threads_together(tmp_path: Path, count: int, expected: list[list[int]]) -> None:
    """Four cores of two hardware threads each: a process has whole cores, and shares one only where they run out."""
    siblings = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    root = made(tmp_path, {siblings.format(number): f"{number % 4},{number % 4 + 4}" for number in range(8)})
    assert shares(count, root) == expected
