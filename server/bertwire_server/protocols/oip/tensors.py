"""Parsing of input tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bertwire.oip.inference_pb2 import ModelInferRequest
from bertwire_server.errors import InvalidRequest
from bertwire_server.protocols.oip.parameters import refuse_shared_memory
from bertwire_server.protocols.oip.schema import TEXT, TEXT_PAIR

Input = ModelInferRequest.InferInputTensor
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a request, and the form of their tensor.

    Attributes:
        rank: rank of the tensor: 1 for [N], 2 for [N, 1].
        raw: whether the elements came in `raw_input_contents`.
    """

    texts: list[str] | list[tuple[str, str]]
    rank: int
    raw: bool


def read_texts(request: ModelInferRequest, check_count: Callable[[int], None]) -> Texts:
    """Return the texts of a request.

    Args:
        request: the request.
        check_count: raises where the number of texts is out of range; called before they are parsed.

    Raises:
        InvalidRequest: a name, datatype, shape or content is invalid.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidRequest(f"{len(raw)} raw_input_contents for {len(request.inputs)} inputs; send one for each")
    columns: dict[str, list[str]] = {}
    rank = 1
    for index, tensor in enumerate(request.inputs):
        _check_head(tensor, columns)
        count = _count(tensor)
        check_count(count)
        elements = _raw(tensor, raw[index], count) if raw else _typed(tensor, count)
        columns[tensor.name] = _decoded(tensor.name, elements)
        rank = max(rank, len(tensor.shape))
    return Texts(_joined(columns), rank, raw=bool(raw))


def _check_head(tensor: Input, before: dict[str, list[str]]) -> None:
    if tensor.name not in (TEXT, TEXT_PAIR):
        raise InvalidRequest(f"no input {tensor.name[:64]!r} here; ModelMetadata lists what the model reads")
    if tensor.name in before:
        raise InvalidRequest(f"two inputs {tensor.name!r}; send one")
    if tensor.datatype != "BYTES":
        raise InvalidRequest(f"{tensor.name} has the datatype {tensor.datatype[:64]!r}; send BYTES")
    if tensor.parameters:
        refuse_shared_memory(tensor.parameters)


def _count(tensor: Input) -> int:
    """Return the number of texts in a tensor's shape."""
    shape = tensor.shape
    if not 1 <= len(shape) <= 2 or shape[0] < 0 or (len(shape) == 2 and shape[1] != 1):
        shown = f"[{', '.join(map(str, shape[:4]))}{', ...' if len(shape) > 4 else ''}]"
        raise InvalidRequest(f"{tensor.name} has the shape {shown}; send [N] or [N, 1] for N texts")
    return shape[0]


def _raw(tensor: Input, content: bytes, count: int) -> list[bytes]:
    if tensor.HasField("contents") and tensor.contents.ByteSize():
        raise InvalidRequest(f"{tensor.name} has contents beside raw_input_contents; send one of the two")
    elements, place, end = [], 0, len(content)
    for index in range(count):
        start = place + _LENGTH_BYTES
        place = start + int.from_bytes(content[place:start], "little")
        if start > end or place > end:
            raise InvalidRequest(
                f"raw_input_contents of {tensor.name} ends within element {index} of {count}; each is its length in "
                "4 little-endian bytes, and its bytes"
            )
        elements.append(content[start:place])
    if place != end:
        raise InvalidRequest(f"raw_input_contents of {tensor.name} goes on after the {count} elements of its shape")
    return elements


def _typed(tensor: Input, count: int) -> Sequence[bytes]:
    fields = [field.name for field, _ in tensor.contents.ListFields()]
    if fields and fields != ["bytes_contents"]:
        raise InvalidRequest(f"{tensor.name} has {fields[0]}; the elements of BYTES go into bytes_contents")
    elements = tensor.contents.bytes_contents
    if len(elements) != count:
        raise InvalidRequest(f"{tensor.name} has {len(elements)} elements, and a shape for {count}")
    return elements


def _decoded(name: str, elements: Sequence[bytes]) -> list[str]:
    texts: list[str] = []
    try:
        for element in elements:
            texts.append(str(element, "utf-8"))  # noqa: PERF401 - the list's length names the invalid element
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name}[{len(texts)}] is not UTF-8; encode texts as UTF-8") from None
    return texts


def _joined(columns: dict[str, list[str]]) -> list[str] | list[tuple[str, str]]:
    if TEXT not in columns:
        raise InvalidRequest(f"there is no input {TEXT!r}; send the texts in it")
    if TEXT_PAIR not in columns:
        return columns[TEXT]
    if len(columns[TEXT]) != len(columns[TEXT_PAIR]):
        raise InvalidRequest(f"{len(columns[TEXT_PAIR])} texts in {TEXT_PAIR} for {len(columns[TEXT])} in {TEXT}")
    return list(zip(columns[TEXT], columns[TEXT_PAIR], strict=True))
