"""What was trained, on what."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy

from bertwire_core.chunks import Chunks
from bertwire_data.labelled import Labelled
from bertwire_trainer.report.material import Material
from bertwire_trainer.report.section import Section, Table, shown


def summary(material: Material) -> list[Section]:
    """Return the sections about the run and its rows."""
    record, splits = material.record, material.job.data.splits()
    read = Chunks(record["chunks"]).reads(record["max_length"])
    facts = [
        ("task", record["task"]),
        ("labels", str(len(material.labels))),
        ("base model", record["base_model"]),
        ("method", record["method"]),
        ("best epoch", shown(record["best_epoch"])),
        ("texts are cut at", f"{read}, on the {record['truncation_side']}"),
        ("seed", str(record["seed"])),
        ("seconds", f"{record['seconds']:.1f}"),
        *_flat("pooling", record["pooling"] or {}),
        *_flat("recipe", record["recipe"]),
        *_flat("stage", record["stages"]),
        *_flat("chosen", record["chosen"]),
        *_flat("version", record["versions"]),
    ]
    tables = [
        Table(("", ""), [each for each in facts if each[1]], 2),
        Table(("split", "source", "rows", "cut"), [_split(material, name) for name in splits], 2, "Splits"),
        _per_label(material.labels, splits) if any(True for _ in splits["train"].names()) else _numbers(splits),
    ]
    remarks = record["remarks"] or ["nothing odd was found in the rows"]
    odd = Section("What is odd about the rows", tables=[Table(("remark",), [(each,) for each in remarks])])
    return [Section("What was trained", tables=tables), odd]


def _flat(prefix: str, values: dict[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        title = f"{prefix}: {name.replace('_', ' ')}"
        if isinstance(value, dict):
            found += _flat(title, value)
        elif value not in (None, [], ""):
            found.append(
                (title, value if isinstance(value, str) else f"{value:g}" if _is_number(value) else str(value))
            )
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _split(material: Material, name: str) -> tuple[str, ...]:
    tokens, found = material.job.tokens.get(name), material.record["data"][name]
    return name, found["source"], str(found["rows"]), "" if tokens is None else str(tokens.cut)


def _per_label(labels: list[str], splits: Mapping[str, Labelled]) -> Table:
    counts = [Counter(split.names()) for split in splits.values()]
    rows = [(label, *(str(each[label]) for each in counts)) for label in labels]
    return Table(("label", *splits), rows, title="How often each label occurs")


def _numbers(splits: Mapping[str, Labelled]) -> Table:
    found = {name: numpy.array(split.targets, numpy.float64) for name, split in splits.items()}
    rows = [(name, *(f"{each:.4g}" for each in (n.min(), n.mean(), n.max(), n.std()))) for name, n in found.items()]
    return Table(("split", "least", "mean", "most", "standard deviation"), rows, title="The numbers")
