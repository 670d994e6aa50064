"""Request parameters. Unknown names are ignored, as in Triton."""

from collections.abc import Mapping

from bertwire.oip.inference_pb2 import InferParameter
from bertwire_server.errors import InvalidRequest
from bertwire_server.query import Priority

Parameters = Mapping[str, InferParameter]
PRIORITY_LEVELS, DEFAULT_PRIORITY = 3, 2
_PRIORITIES = {1: Priority.HIGH, 2: Priority.NORMAL, 3: Priority.LOW}
_MAX_DIGITS = 20


def priority(parameters: Parameters) -> Priority:
    """Return `priority`: 1 is the highest; 0, absent and out-of-range values mean the default, as in Triton."""
    return _PRIORITIES.get(_whole(parameters, "priority"), Priority.NORMAL)


def timeout(parameters: Parameters) -> int:
    """Return `timeout` in microseconds; 0 where absent."""
    return _whole(parameters, "timeout")


def classification(parameters: Parameters) -> int:
    """Return an output's `classification`, a number of best labels; 0 where absent."""
    count = _whole(parameters, "classification")
    if not count and "classification" in parameters:
        raise InvalidRequest("classification is 0; ask for at least 1 label")
    return count


def refuse_shared_memory(parameters: Parameters) -> None:
    """Raise `InvalidRequest` for a tensor in shared memory."""
    if any(name.startswith("shared_memory_") for name in parameters):
        raise InvalidRequest("this server has no shared memory; send and ask for tensors in the message")


def _whole(parameters: Parameters, name: str) -> int:
    """Return an integer parameter, 0 where absent; clients send different types."""
    if name not in parameters:  # indexing a map of messages would add the key
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
