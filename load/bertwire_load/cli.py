"""The command `bertwire load`."""

import json
import sys
from datetime import datetime
from pathlib import Path

from bertwire_core.console import err, out
from bertwire_core.files import require_absent, require_own, whole_folder
from bertwire_core.options import command
from bertwire_data.texts import read_texts
from bertwire_load.campaign import Campaign, Results
from bertwire_load.config import LoadConfig
from bertwire_load.processes import Processes
from bertwire_load.show import document, lines, table

_RESULTS, _REPORT = "load.json", "report.html"


def run_load(config: LoadConfig) -> None:
    """Measure latency and throughput of a server under load.

    Calls are sent when they are due, whether earlier ones are answered or not, and latency counts from then. Ends with
    a table, load.json and report.html; Ctrl-C ends it early, with what was measured.
    """
    # Local time, as the name of a file on this machine.
    output = config.output or Path(f"load-{datetime.now().astimezone():%Y%m%d-%H%M%S}")
    _require_place(output, overwrite=config.overwrite)
    texts = None if config.texts is None else read_texts(config.texts, config.text_column, "--text-column")
    results = Results()
    try:
        with Processes(config, texts) as processes:
            Campaign(config, processes, results).run()
    finally:
        # After a fault too: a long sweep is not lost with its last load.
        if results.done:
            _show(results, config, output)
    if results.interrupted:
        raise KeyboardInterrupt
    if None in results.best.values():
        sys.exit(1)


def _require_place(output: Path, *, overwrite: bool) -> None:
    """Raise `UserError` where the output could not be written at the end."""
    require_absent(output, overwrite=overwrite)
    require_own(output, {_RESULTS}, "result of a load test")


def _show(results: Results, config: LoadConfig, output: Path) -> None:
    out.print(table(results, config))
    for line in lines(results, config):
        out.print(line, highlight=False, markup=False, soft_wrap=True)
    with whole_folder(output, overwrite=config.overwrite) as folder:
        text = json.dumps(document(results, config), indent=1) + "\n"
        (folder / _RESULTS).write_text(text, encoding="utf-8")
        written = _write_report(folder / _REPORT, results, config)
    for name in (_RESULTS, *([_REPORT] if written else [])):
        err.print(f"written: {output / name}", highlight=False, markup=False, soft_wrap=True)


def _write_report(path: Path, results: Results, config: LoadConfig) -> bool:
    try:
        from bertwire_load.report import page
    except ModuleNotFoundError as error:
        err.print(f"no report.html, which needs {error.name}: pip install '.[load]' in the folder of bertwire's source")
        return False
    path.write_text(page(results, config), encoding="utf-8")
    return True


load = command(LoadConfig, run_load)
