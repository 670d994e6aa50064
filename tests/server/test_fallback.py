"""A variant that does not compute here what was proven is not served: the next best is, and everyone can see it."""

import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import pytest

from bertwire_client import Client
from bertwire_client.replies import ModelInfo
from damaged import flip
from support import bertwire, rehash, reseal

FAULT = (
    r"int8-packed does not compute on this machine \(cpu\) what was proven: on \d+ of 64 sequences of the bundle's "
    r"probe its logits are further off than rounding explains, by up to \S+; at most 8 sequences may be, by at most \S+"
)


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle, whose best variant is int8."""

    def int8_first(manifest: dict[str, Any]) -> None:
        manifest["variants"].sort(key=lambda each: each["name"], reverse=True)

    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    reseal(copy, int8_first)
    return copy


@contextmanager
def served(folder: Path) -> Iterator[tuple[ModelInfo, str, list[str]]]:
    """Serves a bundle: what ListModels says of it, its metrics, and its log until it takes calls."""
    command = bertwire("serve", folder, "--port", 0, "--metrics-port", 0)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().split(" at ")[-1].strip()
        log = []
        for line in process.stderr:
            log.append(line)
            if "takes calls" in line:
                break
        metrics = next(found[0] for line in log if (found := re.search(r"http://\S+/metrics", line)))
        try:
            with Client(address) as client, urllib.request.urlopen(metrics) as page:  # noqa: S310 - ours
                (model,) = client.list_models()
                yield model, page.read().decode(), log
        finally:
            process.kill()


def gauges(metrics: str) -> dict[str, float]:
    """Whether the model is proven, and whether it is not its best variant."""
    found = re.findall(r'^bertwire_model_(proven|fallback)\{model="tiny",version="1"\} (\S+)$', metrics, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_serves_the_next_best(copy: Path) -> None:
    """With one line in the log, a metric, and the reason where models are listed."""
    flip(copy, "int8-packed.onnx", 0)
    with served(copy) as (model, metrics, log):
        assert (model.state, model.variant, model.proven) == ("ready", "fp32-packed", True)
        assert re.fullmatch(FAULT, model.fallback_reason)
        assert gauges(metrics) == {"proven": 1, "fallback": 1}
        (line,) = [line for line in log if "what was proven" in line]
        assert re.search(rf"ERROR.*tiny version 1: {FAULT}; serving fp32-packed instead$", line)


def test_serves_the_next_best_where_one_does_not_load(copy: Path) -> None:
    """As by an older ONNX Runtime; a caller learns why without its source files and its C++."""
    graph = onnx.load(copy / "int8-packed.onnx")
    graph.opset_import[0].version = 99
    onnx.save(graph, copy / "int8-packed.onnx")
    rehash(copy)
    with served(copy) as (model, metrics, _):
        assert (model.variant, model.proven) == ("fp32-packed", True)
        assert model.fallback_reason.startswith("variant int8-packed does not load on cpu: ")
        assert "/" not in model.fallback_reason
        assert "std::" not in model.fallback_reason
        assert gauges(metrics) == {"proven": 1, "fallback": 1}


def test_serves_the_best_where_it_is_right(copy: Path) -> None:
    """And says that it is proven here."""
    with served(copy) as (model, metrics, _):
        assert (model.variant, model.proven, model.fallback_reason) == ("int8-packed", True, "")
        assert gauges(metrics) == {"proven": 1, "fallback": 0}


def test_serves_bundle_of_schema_2(copy: Path) -> None:
    """It has no probe, and is shown as not proven here."""

    def older(manifest: dict[str, Any]) -> None:
        del manifest["probe"]
        manifest["schema_version"] = 2

    (copy / "probe.json").unlink()
    reseal(copy, older)
    with served(copy) as (model, metrics, _):
        assert (model.variant, model.proven, model.fallback_reason) == ("int8-packed", False, "")
        assert gauges(metrics) == {"proven": 0, "fallback": 0}


@pytest.mark.parametrize(("files", "options"), [(1, ("--variant", "int8")), (2, ())])
def test_ends_where_nothing_is_left(copy: Path, files: int, options: tuple[str, ...]) -> None:
    """Neither what was asked for nor anything at all: one line says what differs, of each."""
    for name in ("int8-packed", "fp32-packed")[:files]:
        flip(copy, f"{name}.onnx", 0)
    command = bertwire("serve", copy, "--port", 0, *options)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    faults = FAULT if files == 1 else f"{FAULT}; {FAULT.replace('int8', 'fp32')}"
    assert re.match(rf"bertwire: error: {re.escape(str(copy))}: {faults}; serve it on the kind of machine", line)
