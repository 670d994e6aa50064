"""The page: its sections in order, its head, and the file."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

from bertwire_core.files import whole_file
from bertwire_export.report.cost import cost_plot
from bertwire_export.report.css import CSS
from bertwire_export.report.evidence import Evidence
from bertwire_export.report.facts import environment, summary
from bertwire_export.report.markup import element
from bertwire_export.report.sections import calibration, confusion, labels, lengths, scatter
from bertwire_export.report.svg import inline_svg, plot_style
from bertwire_export.report.verdicts import verdict_table
from bertwire_runtime.bundle.manifest import Manifest


def write_report(path: Path, manifest: Manifest, evidence: Evidence, *, seal: str) -> None:
    """Writes the report of a bundle as one HTML file that loads nothing, whole or not at all.

    The same input gives the same bytes.

    Args:
        path: the file.
        manifest: the bundle's.
        evidence: what the plots need beyond it.
        seal: SHA-256 of the manifest, by which a reader knows the bundle that the report is about.

    Raises:
        UserError: `path` is a folder.
    """
    with plot_style():
        page = _page(manifest, evidence, seal)
    with whole_file(path) as partial:
        partial.write_text("<!DOCTYPE html>\n" + tostring(page, encoding="unicode", method="html"), encoding="utf-8")


def _page(manifest: Manifest, evidence: Evidence, seal: str) -> Element:
    title = f"{manifest.name} {manifest.version}"
    body = element("body", element("h1", title), *summary(manifest, evidence, seal))
    for heading, content in _sections(manifest, evidence):
        if content:
            body.append(element("section", element("h2", heading), *content))
    for block in body:
        block.tail = "\n"
    return element("html", _head(title), body, lang="en")


def _sections(manifest: Manifest, evidence: Evidence) -> Iterator[tuple[str, list[Element]]]:
    yield "What was measured, and the verdict", [verdict_table(manifest)]
    yield "Quality against cost", _cost(manifest)
    yield "Are the scores honest?", calibration(manifest, evidence)
    yield "What is mistaken for what", confusion(manifest, evidence)
    yield "Label by label", labels(manifest, evidence)
    yield "Length of the texts", lengths(manifest, evidence)
    yield "Predicted and true numbers", scatter(manifest, evidence)
    yield "Where it comes from", environment(manifest)


def _cost(manifest: Manifest) -> list[Element]:
    figure = cost_plot(manifest)
    if figure is None:
        return [element("p", "No graph was timed on the CPU.")]
    return [element("figure", inline_svg(figure, "cost", "Quality against CPU-milliseconds a text"))]


def _head(title: str) -> Element:
    # The one style sheet is named by its hash and nothing else may load or run, style attributes included.
    digest = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    style = Element("style")
    style.text = CSS
    return element(
        "head",
        element("meta", charset="utf-8"),
        Element("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        element("meta", name="viewport", content="width=device-width"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title}: export report"),
        style,
    )
