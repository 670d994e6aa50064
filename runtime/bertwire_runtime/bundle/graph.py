"""Holds a graph to its own bytes: no tensor of it may lie in another file.

ONNX Runtime has checks of its own, but what they cover differs from version to version, and they let a graph read any
file beside it. The server has no `onnx` package, so the few messages that can lead to a tensor are walked by their
numbers in onnx.proto.
"""

from collections.abc import Iterator

_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _SPARSE, _FUNCTION, _TRAINING, _TENSOR = range(8)
# For each message, which of its fields lead on, and to what.
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
# Other readers drop the bits above, and would see a field that was not seen here.
_MAX_TAG = 2**32 - 1


def require_self_contained(content: bytes) -> None:
    """Looks at every tensor of an ONNX model.

    Args:
        content: the file.

    Raises:
        ValueError: the bytes are no ONNX model, or one of which a tensor names another file.
    """
    left = [(_MODEL, memoryview(content))]
    while left:
        kind, message = left.pop()
        for field, value in _read(message):
            if kind == _TENSOR and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value)):
                raise ValueError("keeps weights in another file, which a bundle's graph may not")
            if field in _FIELDS[kind] and isinstance(value, memoryview):
                left.append((_FIELDS[kind][field], value))


def _read(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a protobuf message: number, and the value of a varint or the bytes of anything else."""
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
    """The number that begins at a position, and the position after it."""
    number = 0
    for index, byte in enumerate(message[at : at + _MAX_VARINT_BYTES]):
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number, at + index + 1
    raise ValueError("is no ONNX model")
