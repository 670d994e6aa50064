"""Hypothesis strategies for messages of any type, and for what damage makes of them."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

_Strategy = st.SearchStrategy[Any]
_DEPTH = 4
_ODD = (
    "", " ", "\n\t", "\0", "w1\0w2", "👩🏽‍🚀", "🇩🇪" * 3, "\u202eabc\u202c", "مرحبا بالعالم", "e\u0301" * 40,
    "Z" + "\u0335" * 200,
    "\ufeff", "\uffff", "\U0010ffff", "ﷺ" * 50, "w" * 3000, "字" * 500, "w1 " * 200, "[CLS] [SEP] [MASK] [PAD]",
    "../../etc/passwd", "%s%n{}", "' OR 1=1",
)  # fmt: skip
# With names of the Open Inference Protocol, without which no request gets past its first tensor.
_KNOWN = (
    "w1", "w1 w2 w3", "1", "latest", "positive", "B-x",
    "text", "text_pair", "BYTES", "scores", "classification", "priority", "timeout",
)  # fmt: skip


def _integers(bits: int, *, signed: bool) -> _Strategy:
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return st.sampled_from([least, most, 0, 1, 2]) | st.integers(least, most)


_text = st.sampled_from(_KNOWN) | st.sampled_from(_ODD) | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_SCALARS: dict[int, _Strategy] = {
    FieldDescriptor.CPPTYPE_INT32: _integers(32, signed=True),
    FieldDescriptor.CPPTYPE_INT64: _integers(64, signed=True),
    FieldDescriptor.CPPTYPE_UINT32: _integers(32, signed=False),
    FieldDescriptor.CPPTYPE_UINT64: _integers(64, signed=False),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_STRING: _text,
}


@cache
def messages(kind: Descriptor, depth: int = _DEPTH) -> _Strategy:
    """Return a strategy for messages of a type, every field at times unset, extreme or odd."""
    fields = {each.name: _field(each, depth) for each in kind.fields if _deep(each) < depth}
    factory = GetMessageClass(kind)
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: factory(**values))


def _deep(field: FieldDescriptor) -> int:
    return 1 if field.message_type is not None else 0


def _field(field: FieldDescriptor, depth: int) -> _Strategy:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        entry = kind.fields_by_name
        return st.dictionaries(_value(entry["key"], depth), _value(entry["value"], depth), max_size=4)
    value = _value(field, depth)
    return st.lists(value, max_size=5) if field.is_repeated else value


def _value(field: FieldDescriptor, depth: int) -> _Strategy:
    if field.message_type is not None:
        return messages(field.message_type, depth - 1)
    if field.enum_type is not None:
        known = [each.number for each in field.enum_type.values]
        return st.sampled_from(known) | _SCALARS[FieldDescriptor.CPPTYPE_INT32]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=60)
    return _SCALARS[field.cpp_type]


def encoded(kind: Descriptor) -> st.SearchStrategy[bytes]:
    """Return a strategy for bytes in a message's place: one of the type, such a one damaged, or any."""
    whole = messages(kind).map(_serialized)
    return (
        whole | whole | st.builds(_damaged, whole, st.lists(_damage, min_size=1, max_size=4)) | st.binary(max_size=80)
    )


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


_damage = st.tuples(st.sampled_from(["flip", "cut", "insert", "repeat"]), st.integers(0, 1 << 16), st.integers(0, 255))


def _damaged(content: bytes, damages: Sequence[tuple[str, int, int]]) -> bytes:
    for kind, number, value in damages:
        place = number % (len(content) + 1)
        head, tail = content[:place], content[place:]
        if kind == "flip":
            content = head + bytes(each ^ value for each in tail[:1]) + tail[1:]
        elif kind == "cut":
            content = head
        elif kind == "insert":
            content = head + bytes([value]) + tail
        else:
            content = head + tail + tail
    return content
