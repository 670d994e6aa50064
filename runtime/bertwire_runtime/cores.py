"""How many cores this process may compute on.

ONNX Runtime counts the machine's. In a container that may use 2 of 64 it would start 64 threads, and the kernel would
stop them all for most of each period.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


def run_threads(asked: int, root: Path = _ROOT) -> int:
    """ONNX Runtime's number of threads for a run, where the user asks for so many and 0 means one for each core.

    Stays 0 where nothing keeps the process from any core: ONNX Runtime then takes one for each, and binds it there.
    """
    if asked:
        return asked
    free = _quota(root) is None and len(os.sched_getaffinity(0)) == os.cpu_count()
    return 0 if free else usable_cores(root)


def usable_cores(root: Path = _ROOT) -> int:
    """The cores that this process may be scheduled on, or what its cgroups' quotas allow of them; at least 1.

    Two hardware threads of a core count once. A quota is rounded down: a thread more than it would have the kernel stop
    all of them in every period, which callers see as latency.

    Args:
        root: folder with `proc` and `sys`.
    """
    siblings = {_siblings(root, number) for number in os.sched_getaffinity(0)}
    quota = _quota(root)
    return len(siblings) if quota is None else max(1, min(len(siblings), int(quota)))


def _siblings(root: Path, number: int) -> str:
    """The hardware threads of the core that has this one, as the kernel names them."""
    return _read(root / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list") or str(number)


def _quota(root: Path) -> float | None:
    """How many cores' time the least of the process's cgroups has; None where none is limited (cgroups(7))."""
    quotas = [quota for folder in _folders(root) if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def _quota_of(folder: Path) -> float | None:
    words = _read(folder / "cpu.max").split()  # version 2: "150000 100000", or "max 100000"
    if not words:
        words = [_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")]
    quota, period = words
    return int(quota) / int(period) if quota.isdigit() and int(period) else None


def _folders(root: Path) -> Iterator[Path]:
    """The folders of the process's cgroups that count CPU time, each with those above it."""
    paths = dict(_cgroups(root))
    for line in _read(root / "proc/self/mountinfo").splitlines():
        # proc(5): the part of the hierarchy that is mounted, where; behind the dash type, source and options.
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
    """The path of the process in each hierarchy, by controller; that of version 2 has no name."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        yield from ((controller, path) for controller in controllers.split(","))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
