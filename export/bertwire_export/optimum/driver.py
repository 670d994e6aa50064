"""Convert a checkpoint by Optimum in another interpreter, which sees as little of it and of bertwire as possible."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import onnx

from bertwire_core.errors import UserError
from bertwire_core.tasks import ServedTask
from bertwire_export.checkpoint import WEIGHTS
from bertwire_export.convert import OPSET
from bertwire_export.optimum.plain import plain_config
from bertwire_export.tasks import TASK_EXPORTS

_WORKER = Path(__file__).with_name("worker.py")
# Seconds until the conversion is stopped. A large BERT takes less than a minute on one core; half of the limit is
# enough for a machine 7 times slower.
_LIMIT_SECONDS = 900
# Characters of an error that are shown; with half as many a path may hide the reason.
_LONGEST_REASON = 300
# Variables by which the interpreter finds its own libraries. No other is passed on: some hold tokens.
_PASSED_ON = ("LD_LIBRARY_PATH", "PATH")


def require_environment(python: Path) -> None:
    """Raise `UserError` where the interpreter of Optimum's environment is missing."""
    if not python.is_file():
        raise UserError(
            f"{python} is missing: --converter optimum has an environment of its own; run make optimum in the "
            "repository, or name its interpreter with --optimum-python"
        )


def convert_with_optimum(
    checkpoint: Path,
    task: ServedTask,
    inputs: list[str],
    output: Path,
    python: Path,
    limit_seconds: float = _LIMIT_SECONDS,
) -> None:
    """Write a checkpoint as fp32 ONNX: int64 [batch, tokens] inputs to `logits` float32.

    Args:
        checkpoint: a folder with `config.json` and `model.safetensors`.
        task: the task of `training.json`.
        inputs: names of the inputs that the graph must have.
        output: the file to write.
        python: the interpreter of Optimum's environment.
        limit_seconds: seconds until the conversion is stopped.

    Raises:
        UserError: the environment is missing, or Optimum failed, took too long or wrote a graph of other inputs.
    """
    require_environment(python)
    with tempfile.TemporaryDirectory(prefix="optimum-", dir=output.parent) as name:
        folder = Path(name)
        source = folder / "checkpoint"
        source.mkdir()
        (source / "config.json").write_text(json.dumps(plain_config(checkpoint / "config.json")), encoding="utf-8")
        shutil.copyfile(checkpoint / WEIGHTS, source / WEIGHTS)
        arguments = [source, folder / "onnx", TASK_EXPORTS[task].optimum_task, OPSET]
        # -I: no variable, folder or user's package adds to what this interpreter imports. The path is not resolved:
        # Python finds its environment by the link's folder.
        _run([python.absolute(), "-I", _WORKER, *arguments], folder, limit_seconds)
        graph = folder / "onnx" / "model.onnx"
        _require_names(graph, inputs)
        shutil.move(graph, output)


def _run(command: list[object], folder: Path, limit_seconds: float) -> None:
    log = folder / "stderr"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        code = process.wait(limit_seconds)
    except subprocess.TimeoutExpired:
        raise _failure(f"it did not end within {limit_seconds:g} seconds") from None
    finally:
        if process.poll() is None:  # after Ctrl-C too
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code:
        raise _failure(_last_line(log) or f"exit status {code}")


def _environment(folder: Path) -> dict[str, str]:
    # Another home, so that no token or cache of the user's is read.
    own = {"HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8"}
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed_on | own | quiet | {"ORT_DISABLE_TELEMETRY": "1"}


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip()[:_LONGEST_REASON] for line in reversed(lines) if line.strip()), "")


def _require_names(graph: Path, inputs: list[str]) -> None:
    if not graph.is_file():
        raise _failure("it wrote no graph")
    found = onnx.load(graph, load_external_data=False).graph
    names = [each.name for each in found.input]
    if set(names) != set(inputs) or [each.name for each in found.output] != ["logits"]:
        raise _failure(f"its graph reads {', '.join(names)}, where {', '.join(inputs)} are needed")


def _failure(reason: str) -> UserError:
    return UserError(f"Optimum could not convert the checkpoint: {reason}; --converter torch does without Optimum")
