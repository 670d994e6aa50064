"""The server's log: text or JSON, each message with the request that it belongs to, and a line for every call at debug.

A text that a client sent is never in it unless `--log-texts` asks, and then masked. Stack traces hold code and the
messages of exceptions; those of protobuf, tokenizers and ONNX Runtime name types, shapes and single characters or token
ids, not texts, and ours are written so (tests/server/test_telemetry_logs.py).
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
# How many of a call's texts its line shows, how much of each is read for that, and how much is shown.
_MAX_TEXTS, _READ_CHARS, _SHOWN_CHARS = 8, 4000, 1000
# Longer than any identifier: one that reading stopped in would not be known for what it is.
_UNSURE_CHARS = 300
_calls = logging.getLogger("bertwire_server.calls")


def configure(level: str, form: Literal["text", "json"]) -> None:
    """Sends the log of this process to standard error, from `level` on."""
    logging.basicConfig(level=level.upper(), handlers=[handler(form)], force=True)
    # At debug gRPC tells of every turn of its event loop, and says nothing else.
    logging.getLogger("grpc").setLevel(max(logging.INFO, logging.getLogger().level))
    logging.getLogger("grpc._cython.cygrpc").addFilter(_without_metadata)


def handler(form: Literal["text", "json"], stream: TextIO | None = None) -> logging.Handler:
    """Writes messages with the request that they belong to; to standard error where no stream is given."""
    made = logging.StreamHandler(stream)
    made.addFilter(_with_request)
    if form == "json":
        made.setFormatter(
            JsonFormatter(
                ["levelname", "name", "message"],
                timestamp=True,
                rename_fields={"levelname": "level", "name": "logger"},
                reserved_attrs=[*RESERVED_ATTRS, "where", "call"],
            )
        )
    else:
        made.setFormatter(logging.Formatter(_LINE))
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
    """Writes the line of a call that has ended, at debug.

    Args:
        call: the call.
        code: its status.
        seconds: how long it took.
        with_texts: whether the line holds the texts it asked to classify last, masked, then cut.
        reason: what the caller was told, where it failed.
        peer: gives its address; asked only then.
    """
    if not _calls.isEnabledFor(logging.DEBUG):
        return
    fields: dict[str, object] = {
        # A call that is refused at once has no task of its own, in which it could be found.
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
    """Drops what gRPC says of metadata that are no UTF-8: it holds them whole, and they may be a credential."""
    return not str(record.msg).startswith("Invalid encoding")


def _with_request(record: logging.LogRecord) -> bool:
    """Adds to a message what is known of the call in which it was logged."""
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
    """The text on one line: a client may choose what it is called, and no message of ours."""
    return "".join(each if each.isprintable() else "?" for each in text)
