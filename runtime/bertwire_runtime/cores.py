"""Number of cores that this process may use.

ONNX Runtime starts a thread per core of the machine. In a container with a quota of 2 of 64 cores, the kernel would
throttle all 64 threads for most of each period.
"""

import os
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


def run_threads(asked: int, root: Path = _ROOT) -> int:
    """Return ONNX Runtime's threads per run: as many as asked, 0 for one per usable core.

    The result is 0 where the process is not limited: ONNX Runtime then starts and pins one thread per core.
    """
    if asked:
        return asked
    free = _quota(root) is None and len(os.sched_getaffinity(0)) == os.cpu_count()
    return 0 if free else usable_cores(root)


def usable_cores(root: Path = _ROOT) -> int:
    """Return the cores of the process's affinity mask, limited by its cgroups' quotas; at least 1.

    Hardware threads of one core count once. A quota is rounded down: one thread too many would throttle all of them in
    every period.

    Args:
        root: folder with `proc` and `sys`.
    """
    siblings = {_siblings(root, number) for number in os.sched_getaffinity(0)}
    quota = _quota(root)
    return len(siblings) if quota is None else max(1, min(len(siblings), int(quota)))


def shares(count: int, root: Path = _ROOT) -> list[list[int]]:
    """Return the CPUs of the process's affinity mask in `count` shares, hardware threads of one core in one share.

    Where there are fewer cores than shares, shares have one core each and some have the same.
    """
    cores: dict[str, list[int]] = {}
    for number in sorted(os.sched_getaffinity(0)):
        cores.setdefault(_siblings(root, number), []).append(number)
    found = list(cores.values())
    if count > len(found):
        return [found[index % len(found)] for index in range(count)]
    bounds = [len(found) * index // count for index in range(count + 1)]
    return [list(chain.from_iterable(found[start:end])) for start, end in pairwise(bounds)]


def _siblings(root: Path, number: int) -> str:
    """Return the kernel's list of the hardware threads that share this one's core."""
    return _read(root / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list") or str(number)


def _quota(root: Path) -> float | None:
    """Return the smallest quota of the process's cgroups in cores; None where none is limited (cgroups(7))."""
    quotas = [quota for folder in _folders(root) if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def _quota_of(folder: Path) -> float | None:
    words = _read(folder / "cpu.max").split()  # cgroup v2: "150000 100000", or "max 100000"
    if not words:
        words = [_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")]
    quota, period = words
    return int(quota) / int(period) if quota.isdigit() and int(period) else None


def _folders(root: Path) -> Iterator[Path]:
    """Yield the folders of the process's CPU cgroups and their ancestors."""
    paths = dict(_cgroups(root))
    for line in _read(root / "proc/self/mountinfo").splitlines():
        # proc(5): mounted subtree and mount point; after the dash type, source and options.
        mount, _, source = line.partition(" - ")
        kind, _, options = source.split(" ")
        name = {"cgroup2": "", "cgroup": "cpu"}.get(kind)
        if name not in paths or (name and name not in options.split(",")):
            continue
        part, where = mount.split()[3:5]
        path = PurePosixPath(paths[name])
        inside = path.relative_to(part) if path.is_relative_to(part) else PurePosixPath()
        top = root / where.lstrip("/")
        yield from (top / each for each in (inside, *inside.parents))


def _cgroups(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the process's cgroup path per controller; v2 has an empty controller name."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        yield from ((controller, path) for controller in controllers.split(","))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
