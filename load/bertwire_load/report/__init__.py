"""The page with latency against load and over time. Needs Jinja2 and matplotlib."""

from pathlib import Path

from bertwire_data.pages.images import drawing, image
from bertwire_data.pages.render import render
from bertwire_load.campaign import Results
from bertwire_load.config import LoadConfig
from bertwire_load.report.plots import against_load, over_time
from bertwire_load.show import HEAD, cells, lines, server_names

_FOLDER = Path(__file__).parent


def page(results: Results, config: LoadConfig) -> str:
    """Return report.html, which loads nothing else."""
    measured = results.done
    names = server_names(config)
    with drawing():
        plots = {
            "against": image(against_load(measured, names, results.promise)),
            "over": image(over_time(measured, names)),
        }
    head = ["server", *(name.replace("\n", " ") for name in HEAD)]
    rows = [(each.server, *cells(each)) for each in measured]
    options = [(name, str(getattr(config, name))) for name in sorted(config.model_fields_set)]
    title = f"load on {' and '.join(config.addresses)}"
    return render(
        _FOLDER, title=title, head=head, rows=rows, lines=[*lines(results, config)], plots=plots, options=options
    )
