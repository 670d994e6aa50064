"""Turn answers of annotation tools into labelled rows."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bertwire_core.errors import UserError
from bertwire_core.files import require_absent, whole_file
from bertwire_core.tasks import Task
from bertwire_data.labelled import label_name
from bertwire_data.tasks import TASK_ROWS
from bertwire_trainer.labelling.config import LabelReadConfig
from bertwire_trainer.labelling.formats import EXPORTS, Export
from bertwire_trainer.labelling.forms import Answer, Form, form_by_answers, form_of, task_of
from bertwire_trainer.labelling.tagging import tagged
from bertwire_trainer.labelling.words import squeezed
from bertwire_trainer.messages import note, say

Rows = dict[str, Any]


def read_answers(config: LabelReadConfig) -> None:
    """Write a labelled row for each text that has an answer, and print how many records and answers are left out.

    Of one person the last answer counts, of several people what most of them said.

    Raises:
        UserError: a file is no export, or no text has an answer.
    """
    require_absent(config.output, overwrite=config.overwrite)
    by_record = [each for path in config.inputs for each in _answers(path, config)]
    answers = [each for found in by_record for each in found]
    if not answers:
        raise UserError("no text has an answer that was accepted or submitted; label some texts first")
    form = form_by_answers(answers) if config.task is None else form_of(config.task)
    task = task_of(form)
    made = [(answer, row) for answer in answers if (row := _row(answer, form, task)) is not None]
    rows, disputed = _agreed(made, task)
    if not rows:
        raise UserError(f"no text has an answer for {task}; choose with --task or --question")
    with whole_file(config.output) as path:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    for count, what in (
        (sum(not found for found in by_record), "records without an answer that was accepted or submitted"),
        (len(answers) - len(made), f"answers that give no {form}"),
        (disputed, "texts that people answered differently, as many of them one way as another"),
    ):
        if count:
            note(f"left out: {count:,} {what}")
    say(f"{config.output}: {len(rows):,} labelled rows for {task}")


def _answers(path: Path, config: LabelReadConfig) -> Iterator[list[Answer]]:
    """Yield what people answered in each record."""
    records = _records(path)
    tool = next((each for each in EXPORTS if records and each.is_export(records[0])), None)
    if tool is None:
        raise UserError(
            f"{path} is no export of Prodigy (db-out), Argilla (records.to_json) or Label Studio (JSON, not JSON-MIN)"
        )
    for number, record in enumerate(records, 1):
        yield list(_of_record(path, number, record, tool, config))


def _of_record(path: Path, number: int, record: Rows, tool: Export, config: LabelReadConfig) -> Iterator[Answer]:
    try:
        found = list(tool.read(record, config.question, config.text_column))
    except UserError as error:
        raise UserError(f"{path} has {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} record {number} is not as its tool exports it: {type(error).__name__} {error}; export it again"
        ) from error
    for each in found:
        if not each.texts or not all(isinstance(text, str) and text.strip() for text in each.texts):
            raise UserError(f"{path} record {number} has no text in {config.text_column!r}; choose with --text-column")
        if not _is_unicode(each):
            raise UserError(f"{path} record {number} has half of a character, which no file can hold; correct it")
        yield each


def _records(path: Path) -> list[Rows]:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        text = path.read_text(encoding="utf-8-sig")
        whole = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in _lines(text)]
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is neither a JSON array nor JSON lines in UTF-8: {error}") from error
    if not all(isinstance(record, dict) for record in whole):
        raise UserError(f"{path} holds something else than JSON objects; export it again")
    return list(whole)


def _lines(text: str) -> Iterable[str]:
    # Not `splitlines`, which also splits at characters that JSON leaves as they are.
    return (line for line in text.split("\n") if line.strip())


def _agreed(made: Iterable[tuple[Answer, Rows]], task: Task) -> tuple[list[Rows], int]:
    """Return a row for each text, and how many texts have none since people disagree."""
    said: dict[str, dict[str, Rows]] = defaultdict(dict)
    for answer, row in made:
        said["\n".join(map(squeezed, answer.texts))][answer.person] = row
    label, rows = TASK_ROWS[task].label_column, []
    for by_person in said.values():
        votes = Counter(json.dumps(row[label]) for row in by_person.values())
        (best, most), *others = votes.most_common(2)
        if not others or others[0][1] < most:
            rows.append(next(row for row in by_person.values() if json.dumps(row[label]) == best))
    return rows, len(said) - len(rows)


def _row(answer: Answer, form: Form, task: Task) -> Rows | None:
    label = TASK_ROWS[task].label_column
    texts = dict(zip(("text", "text_pair"), answer.texts, strict=False))
    if form == "marks":
        words, tags = tagged(answer)
        return {"tokens": words, label: tags}
    if form == "labels":
        return texts | {label: sorted(answer.labels)}
    value = _number(answer) if form == "number" else _label(answer)
    return None if value is None else texts | {label: value}


def _number(answer: Answer) -> float | None:
    if answer.number is not None or not answer.labels:
        return answer.number
    try:
        return float(answer.labels[0])
    except ValueError:
        raise UserError(f"{answer.labels[0]!r} is no number, for the text {answer.texts[0][:60]!r}") from None


def _label(answer: Answer) -> str | None:
    if len(answer.labels) > 1:
        raise UserError(f"the text {answer.texts[0][:60]!r} has several labels; read them with --task multi_label")
    return next(iter(answer.labels), None) if answer.number is None else label_name(answer.number)


def _is_unicode(answer: Answer) -> bool:
    """Return whether texts and labels are Unicode: JSON may hold one half of a pair of surrogates."""
    try:
        json.dumps(asdict(answer), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
