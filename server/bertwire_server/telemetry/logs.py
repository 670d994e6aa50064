"""Log of the server: text or JSON, each message with its request, and a line for every call at debug.

It holds no text that a client sent, except masked ones with `--log-texts`. Stack traces hold code and the messages of
exceptions; those of protobuf, tokenizers and ONNX Runtime name types, shapes and single characters or token ids, not
texts, and so do the server's own (tests/server/test_telemetry_logs.py).
"""

import logging
from collections.abc import Callable, Sequence
from typing import Literal, TextIO

import grpc
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from bertwire_runtime.tokenizer import Text
from bertwire_server.call import Call, current
from bertwire_server.telemetry.masking import masked

_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s%(where)s"
# Texts of a call that its line shows, and of each the characters that are masked and those that are shown. Halved, less
# of a call is seen; doubled, masking takes twice the time, on the event loop.
_MAX_TEXTS, _READ_CHARS, _SHOWN_CHARS = 8, 4000, 1000
# Characters dropped from the end of a text that was cut, where an identifier may be incomplete and so not recognized.
# Halved, a long e-mail address may be logged in part.
_UNSURE_CHARS = 300
_calls = logging.getLogger("bertwire_server.calls")


def configure(level: str, form: Literal["text", "json"], process: int | None = None) -> None:
    """Configure the root logger: standard error, messages of `level` and above, each with the number of the process."""
    logging.basicConfig(level=level.upper(), handlers=[handler(form, process=process)], force=True)
    # gRPC's debug messages are about its event loop alone.
    logging.getLogger("grpc").setLevel(max(logging.INFO, logging.getLogger().level))
    logging.getLogger("grpc._cython.cygrpc").addFilter(_without_metadata)


def handler(form: Literal["text", "json"], stream: TextIO | None = None, process: int | None = None) -> logging.Handler:
    """Return a handler that writes each message with its request; to standard error where no stream is given."""
    made = logging.StreamHandler(stream)
    made.addFilter(_with_request)
    if form == "json":
        made.setFormatter(
            JsonFormatter(
                ["levelname", "name", "message"],
                timestamp=True,
                rename_fields={"levelname": "level", "name": "logger"},
                reserved_attrs=[*RESERVED_ATTRS, "where", "call"],
                static_fields={} if process is None else {"process": process},
            )
        )
    else:
        made.setFormatter(logging.Formatter(_LINE if process is None else f"process {process} {_LINE}"))
    return made


def log_call(
    call: Call,
    code: grpc.StatusCode,
    seconds: float,
    *,
    with_texts: bool,
    reason: str = "",
    peer: Callable[[], str] = str,
) -> None:
    """Log a call that has ended, at debug.

    Args:
        call: the call.
        code: its status.
        seconds: its duration.
        with_texts: whether the line holds the texts that it asked to classify last, masked, then cut.
        reason: the message that the caller got, where the call failed.
        peer: gives the caller's address; called only where there is a reason.
    """
    if not _calls.isEnabledFor(logging.DEBUG):
        return
    fields: dict[str, object] = {
        # Given, since a call that is refused at once may have ended outside the task whose context holds it.
        "call": call,
        "method": call.method,
        "model": call.model,
        "model_version": call.model_version,
        "code": code.name,
        "texts": call.texts,
        "milliseconds": round(1e3 * seconds, 3),
    }
    if with_texts:
        fields["content"] = _shown(call.content)
    of = f"{call.texts} texts of {call.model} {call.model_version}, " if call.model else ""
    told = "".join(f", {count} messages {name}" for name, count in call.failures.items())
    if call.failures:
        fields["failures"] = call.failures
    if reason:
        fields |= {"reason": _printable(reason), "peer": peer()}
        told += f": {fields['reason']} (to {fields['peer'] or 'a caller who has gone'})"
    _calls.debug("%s %s, %s%.3f ms%s", call.method, code.name, of, 1e3 * seconds, told, extra=fields)


def _shown(texts: Sequence[Text]) -> list[str]:
    joined = (text if isinstance(text, str) else " | ".join(text) for text in texts[:_MAX_TEXTS])
    return [_start(text) for text in joined]


def _start(text: str) -> str:
    shown = masked(text[:_READ_CHARS])
    if len(text) > _READ_CHARS:
        shown = shown[:-_UNSURE_CHARS]
    return shown[:_SHOWN_CHARS]


def _without_metadata(record: logging.LogRecord) -> bool:
    """Drop gRPC's message about metadata that are no UTF-8: it quotes them, and they may be a credential."""
    return not str(record.msg).startswith("Invalid encoding")


def _with_request(record: logging.LogRecord) -> bool:
    """Add to a message the ids of the call in which it was logged."""
    call = getattr(record, "call", None) or current.get(None)
    known = {} if call is None else {"request_id": call.request_id, "client": call.client}
    if call is not None and call.trace is not None:
        known["trace_id"] = call.trace.trace_id
    known = {name: value for name, value in known.items() if value}
    where = [f"{name}={_printable(value)}" for name, value in known.items()]
    if content := getattr(record, "content", None):
        where.append(f"content={content!r}")
    vars(record).update(known, where=f" ({' '.join(where)})" if where else "")
    return True


def _printable(text: str) -> str:
    """Return the text as one line: a name that a client chose must not look like another message."""
    return "".join(each if each.isprintable() else "?" for each in text)
