"""The command `bertwire classify`."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import zip_longest
from typing import Self

from pydantic import Field, model_validator
from rich.table import Table
from rich.text import Text

from bertwire_cli.explained import explained
from bertwire_client.client import Client
from bertwire_client.connection import ConnectionConfig
from bertwire_client.replies import Explanation, Reply, Result
from bertwire_client.requests import Priority, Truncation
from bertwire_core.console import out, print_json
from bertwire_core.errors import UserError
from bertwire_core.options import argument, command

# Most characters of a text in the table.
_SHOWN_CHARS = 200


class ClassifyConfig(ConnectionConfig):
    """Settings of `bertwire classify`."""

    address: str = argument("The server's host:port, or unix:PATH.")
    texts: list[str] = argument("One or more texts.")
    text_pair: list[str] = Field(
        [], description="Second text, for a model of text pairs; once for each text, in their order."
    )
    model: str = Field("", description="Model to ask; default: the server's own default.")
    model_version: str = Field("", description="Version or alias of the model; default: its default version.")
    top_k: int = Field(3, ge=1, description="Labels to show of a text, best first.")
    threshold: float | None = Field(
        None, ge=0, le=1, description="Least score of a predicted label or entity; default: the model's own thresholds."
    )
    truncation: Truncation = Field(
        "model", description="Text past the model's limit: cut as the model was trained to, left or right, or refused."
    )
    priority: Priority = Field("normal", description="Priority on the server.")
    explain: bool = Field(False, description="Also show which words speak for a label, and which against it.")
    label: str = Field("", description="With --explain: the label to explain; default: the best one of each text.")
    max_spans: int | None = Field(
        None, ge=1, description="With --explain: most words or groups of words; default: as many as the server allows."
    )
    timeout: float = Field(10, gt=0, le=86_400, description="Seconds that the call may take.")
    as_json: bool = Field(
        False,
        description="Print a JSON object a text with all that the server said, for programs.",
        json_schema_extra={"flag": "--json"},
    )

    @model_validator(mode="after")
    def _explains(self) -> Self:
        if not self.explain and (self.label or self.max_spans is not None):
            raise ValueError("--label and --max-spans belong to --explain")
        return self


def run_classify(config: ClassifyConfig) -> None:
    """Classify texts given on the command line, for a quick look at a server."""
    with Client(config.address, timeout=config.timeout, **config.credentials()) as client:
        try:
            reply = client.classify(
                config.texts,
                text_pairs=config.text_pair or None,
                top_k=config.top_k,
                model=config.model,
                model_version=config.model_version,
                threshold=config.threshold,
                truncation=config.truncation,
                priority=config.priority,
            )
            explanations = list(_explanations(config, client)) if config.explain else []
        except ValueError as error:
            raise UserError(str(error)) from None
    if config.as_json:
        for text, result, explanation in zip_longest(config.texts, reply.results, explanations):
            names = {"model": reply.model, "model_version": reply.model_version, "text": text}
            print_json(names | asdict(result) | ({"explanation": asdict(explanation)} if explanation else {}))
        return
    out.print(_table(config.texts, reply))
    for text, result in zip(config.texts, reply.results, strict=True):
        if result.truncated:
            out.print(
                f"cut to {result.token_count} tokens: {_start(text)}", highlight=False, markup=False, soft_wrap=True
            )
        if result.abstained:
            out.print(f"abstained: {_start(text)}", highlight=False, markup=False, soft_wrap=True)
    for text, pair, explanation in zip_longest(config.texts, config.text_pair, explanations):
        if explanation:
            out.print(explained(text, pair, explanation))


def _explanations(config: ClassifyConfig, client: Client) -> Iterator[Explanation]:
    for text, pair in zip_longest(config.texts, config.text_pair):
        yield client.explain(
            text,
            text_pair=pair,
            label=config.label,
            max_spans=config.max_spans,
            model=config.model,
            model_version=config.model_version,
            truncation=config.truncation,
            priority=config.priority,
        )


def _table(texts: list[str], reply: Reply) -> Table:
    table = Table(title=Text(f"model {reply.model} version {reply.model_version}"))
    ruled = any(result.rules for result in reply.results)
    columns = {"text": "left", "label": "left", "score": "right", "predicted": "left"}
    if ruled:
        columns["rules"] = "left"
    for name, justify in columns.items():
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for text, result in zip(texts, reply.results, strict=True):
        for place, (what, label, score, predicted) in enumerate(_lines(text, result)):
            shown = what if place == 0 or result.entities else ""
            # As `Text`, so that rich does not parse square brackets as markup.
            rules = [", ".join(result.rules) if place == 0 else ""] * ruled
            table.add_row(*map(Text, (shown, label, score, predicted, *rules)))
    return table


def _lines(text: str, result: Result) -> Iterator[tuple[str, str, str, str]]:
    for entity in result.entities:
        yield text[entity.start : entity.end], entity.label, f"{entity.score:.4f}", "yes"
    for each in result.labels:
        yield _start(text), each.label, f"{each.score:.4f}", "yes" if each.predicted else ""
    if not result.entities and not result.labels:
        yield _start(text), "no entities", "", ""


def _start(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]} ..."


classify = command(ClassifyConfig, run_classify)
