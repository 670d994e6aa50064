"""What requests can say beside their tensors. Parameters with other names mean nothing here, as in Triton."""

from collections.abc import Mapping

from bertwire.oip.inference_pb2 import InferParameter
from bertwire_server.errors import InvalidRequest
from bertwire_server.query import Priority

Parameters = Mapping[str, InferParameter]
PRIORITY_LEVELS, DEFAULT_PRIORITY = 3, 2
_PRIORITIES = {1: Priority.HIGH, 2: Priority.NORMAL, 3: Priority.LOW}
_MAX_DIGITS = 20


def priority(parameters: Parameters) -> Priority:
    """`priority`: 1 is the most urgent; 0, none, and numbers past the levels stand for the default, as in Triton."""
    return _PRIORITIES.get(_whole(parameters, "priority"), Priority.NORMAL)


def timeout(parameters: Parameters) -> int:
    """`timeout`, in microseconds; 0 where it is not there."""
    return _whole(parameters, "timeout")


def classification(parameters: Parameters) -> int:
    """`classification` of a requested output: so many best labels; 0 where it is not there."""
    count = _whole(parameters, "classification")
    if not count and "classification" in parameters:
        raise InvalidRequest("classification is 0; ask for at least 1 label")
    return count


def refuse_shared_memory(parameters: Parameters) -> None:
    """Raises `InvalidRequest` where a tensor is said to lie in shared memory."""
    if any(name.startswith("shared_memory_") for name in parameters):
        raise InvalidRequest("this server has no shared memory; send and ask for tensors in the message")


def _whole(parameters: Parameters, name: str) -> int:
    """A parameter that is a whole number, 0 where it is not there; clients differ in how they send it."""
    if name not in parameters:  # asking a map of messages for a key would add it
        return 0
    parameter = parameters[name]
    kind = parameter.WhichOneof("parameter_choice")
    value = -1
    if kind == "int64_param":
        value = parameter.int64_param
    elif kind == "uint64_param":
        value = parameter.uint64_param
    elif kind == "string_param":
        text = parameter.string_param
        value = int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else -1
    if value < 0:
        raise InvalidRequest(f"{name} is no whole number from 0 on; send one, as int64_param or uint64_param")
    return value
