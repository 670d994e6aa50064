"""The mistakes on dev that the model is surest of."""

from itertools import islice

from bertwire_data.pages.display import shortened
from bertwire_trainer.report.material import Material
from bertwire_trainer.report.section import Section, Table

# Mistakes in the table; with half as many a pattern in them is harder to see.
_MOST = 20
# Columns of a text that the page shows; a longer one loses its middle.
WIDTH = 400


def mistakes(material: Material) -> list[Section]:
    """Return the section of the most confident mistakes on dev, or the largest errors."""
    held, kind = material.held["dev"], material.kind
    cases = list(islice(kind.cases(held.rows, held.logits, held.targets, material.labels, right=False), _MOST))
    columns = ("row of dev", "text", "true", "predicted", kind.score)
    rows = [
        (str(held.rows.rows[each.place]), shortened(each.text, WIDTH), each.true, each.decided, f"{each.score:.4f}")
        for each in cases
    ]
    figures = {"rows": [held.rows.rows[each.place] for each in cases]}
    remark = "On dev. A mistake that the model is sure of is often a label that is wrong." if cases else "None on dev."
    return [
        Section("Most confident mistakes", remark, tables=[Table(columns, rows, 4)] if rows else [], figures=figures)
    ]
