"""Verification that an ONNX graph stores no tensor in another file.

ONNX Runtime's own checks vary between versions and allow any file beside the graph. The server has no `onnx` package,
so the messages that can hold a tensor are parsed by their field numbers in onnx.proto.
"""

from collections.abc import Iterator

_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _SPARSE, _FUNCTION, _TRAINING, _TENSOR = range(8)
# Per message, the fields to descend into and their message types.
_FIELDS: dict[int, dict[int, int]] = {
    _MODEL: {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _TRAINING: {1: _GRAPH, 2: _GRAPH},
    _TENSOR: {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
# Other parsers drop higher bits, and would see another field.
_MAX_TAG = 2**32 - 1


def require_self_contained(content: bytes) -> None:
    """Raise `ValueError` where the bytes are no ONNX model, or a tensor refers to another file."""
    left = [(_MODEL, memoryview(content))]
    while left:
        kind, message = left.pop()
        for field, value in _read(message):
            if kind == _TENSOR and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value)):
                raise ValueError("keeps weights in another file, which a bundle's graph may not")
            if field in _FIELDS[kind] and isinstance(value, memoryview):
                left.append((_FIELDS[kind][field], value))


def _read(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the fields of a protobuf message: number, and the value of a varint or the bytes of any other type."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag > _MAX_TAG:
            raise ValueError("is no ONNX model")
        if tag & 7 == _VARINT:
            number, at = _varint(message, at)
            yield tag >> 3, number
            continue
        if tag & 7 == _BYTES:
            size, at = _varint(message, at)
        elif tag & 7 in (_FIXED64, _FIXED32):
            size = 8 if tag & 7 == _FIXED64 else 4
        else:
            raise ValueError("is no ONNX model")
        if at + size > len(message):
            raise ValueError("is no ONNX model")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the varint at a position, and the position after it."""
    number = 0
    for index, byte in enumerate(message[at : at + _MAX_VARINT_BYTES]):
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number, at + index + 1
    raise ValueError("is no ONNX model")
