"""What model this is and where it comes from."""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from bertwire_export.report.evidence import Evidence
from bertwire_export.report.markup import element, name, table
from bertwire_runtime.bundle.manifest import FileEntry, Manifest, Split

_PROBE = "run on each machine that serves the bundle: a variant that computes something else there is not served"
_NO_PROBE = "none (schema 2): not proven on the machines that serve the bundle"


def summary(manifest: Manifest, evidence: Evidence, seal: str) -> Iterator[Element]:
    """What model this is, and what its int8 graphs compute on other processors."""
    pairs = "pairs of texts" if manifest.text_pairs else "texts"
    reads = f"{pairs} of at most {manifest.max_length} tokens; longer ones are cut on the {manifest.truncation_side}"
    yield _facts(
        ("task", element("span", manifest.task)),
        ("labels", element("span", f"{len(manifest.labels)}: ", *_listed(manifest.labels))),
        ("base model", name(manifest.provenance.base_model)),
        ("reads", element("span", reads)),
        ("measured on", _split(manifest.provenance.dev)),
        *([] if manifest.provenance.test is None else [("and on", _split(manifest.provenance.test))]),
        *(("int8", element("span", f"{each}: {products}")) for each, products in evidence.products.items()),
        ("probe", element("span", _PROBE if manifest.probe else _NO_PROBE)),
        ("seal", _hash(seal)),
    )


def environment(manifest: Manifest) -> list[Element]:
    """Hashes of data, weights and files, and the versions of what made them."""
    source = manifest.provenance
    splits = [("dev texts", source.dev.sha256), *([] if source.test is None else [("test texts", source.test.sha256)])]
    hashes = [
        ("fine-tuned weights", source.checkpoint_sha256),
        ("training.json", source.training_sha256),
        *splits,
        *((_file(entry), entry.sha256) for entry in manifest.files),
    ]
    return [
        table(("SHA-256 of", ""), [[name(what), _hash(digest)] for what, digest in hashes]),
        element("p", f"The first ONNX graph was written by {source.converter}."),
        table(("package", "version"), [[name(package), name(version)] for package, version in source.versions.items()]),
    ]


def _file(entry: FileEntry) -> str:
    return f"{entry.name}, {entry.bytes:,} bytes"


def _facts(*facts: tuple[str, Element]) -> Element:
    return element("table", element("tbody", *(_fact(*each) for each in facts)))


def _fact(title: str, content: Element) -> Element:
    return element("tr", element("th", title, scope="row"), element("td", content, class_="w"))


def _listed(labels: tuple[str, ...]) -> Iterator[Element | str]:
    for index, label in enumerate(labels):
        yield ", " if index else ""
        yield name(label)


def _split(split: Split) -> Element:
    return element("span", f"{split.texts} texts of ", name(split.source))


def _hash(digest: str) -> Element:
    return element("span", digest, class_="hash")
