"""Which integer products of a graph can saturate on an x86 processor without VNNI, told from the graph's weights.

Without VNNI (or AMX) ONNX Runtime multiplies uint8 activations and int8 weights with PMADDUBSW, which adds the products
of rows 0 and 1 of the weight, 2 and 3, and so on, in 16 bits and cuts off what does not fit. See "Reduce range" in
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html.
"""

from dataclasses import dataclass
from operator import add

from google.protobuf.message import DecodeError

from bertwire.onnx.graph_pb2 import Model, Node
from bertwire_runtime.bundle.errors import BundleError
from bertwire_runtime.bundle.reader import Bundle

_INT8 = 3  # ONNX's TensorProto.DataType
# The operators that multiply integers, and which of their inputs is the weight.
_PRODUCTS = {"MatMulIntegerToFloat": 1, "MatMulInteger": 1, "DynamicQuantizeMatMul": 1, "QLinearMatMul": 3}
# 255 * 128 is 32,640 and fits 16 bits, 255 * 129 does not.
_LARGEST_SUM = 128
# Two of these never sum to more.
_SMALL = bytes(number & 255 for number in range(-_LARGEST_SUM // 2, _LARGEST_SUM // 2 + 1))


@dataclass(frozen=True, slots=True)
class IntegerProducts:
    """The products of uint8 and int8 that a graph computes.

    Attributes:
        count: how many.
        saturating: the layers whose product can saturate without VNNI, in the graph's order.
        unread: of how many products the weights are not where they can be read, so that nobody can tell.
    """

    count: int
    saturating: tuple[str, ...]
    unread: int = 0

    def __str__(self) -> str:
        """What a reader of `bertwire inspect` and of the report should know."""
        if self.unread:
            return (
                f"whether {self.unread} of {self.count} integer products can saturate on x86 without VNNI is not known"
            )
        if not self.saturating:
            return f"none of {self.count} integer products can saturate: exact on every processor"
        some = f"{len(self.saturating)} of {self.count} integer products can saturate"
        return f"{some} on x86 without VNNI: {', '.join(self.saturating)}"


def bundle_products(bundle: Bundle) -> dict[str, IntegerProducts]:
    """The integer products of each int8 variant, by its name; raises `BundleError` where its file is no ONNX graph."""
    found = {}
    for variant in bundle.manifest.variants:
        if variant.precision == "int8":
            try:
                found[variant.name] = integer_products(bundle.read(variant.file))
            except (DecodeError, IndexError, ValueError) as error:
                raise BundleError(f"{bundle.path}: {variant.file.name} is no ONNX graph; export it again") from error
    return found


def integer_products(content: bytes) -> IntegerProducts:
    """The integer products of an ONNX file with constant weights, given its bytes."""
    graph = Model.FromString(content).graph
    weights = {each.name: each for each in graph.initializer if each.data_type == _INT8 and each.raw_data}
    products = [node for node in graph.node if node.op_type in _PRODUCTS]
    found = [node for node in products if node.input[_PRODUCTS[node.op_type]] in weights]
    used = {_weight(node) for node in found}  # by name: layers may share a weight
    unsafe = {name for name in used if can_saturate(weights[name].raw_data, weights[name].dims[-1])}
    saturating = tuple(_layer(node) for node in found if _weight(node) in unsafe)
    return IntegerProducts(len(products), saturating, len(products) - len(found))


def can_saturate(weight: bytes, columns: int) -> bool:
    """Whether some uint8 activations make a product with a weight saturate; int8 in row-major order."""
    if not weight.translate(None, _SMALL):
        return False
    numbers = memoryview(weight).cast("b")
    rows = [numbers[start : start + columns] for start in range(0, len(numbers), columns)]
    # An odd last row is added to nothing. Numbers of unlike sign sum to less than either of them.
    pairs = zip(rows[::2], rows[1::2], strict=False)
    sums = (list(map(add, *pair)) for pair in pairs)
    return any(max(each) > _LARGEST_SUM or min(each) < -_LARGEST_SUM for each in sums)


def _layer(node: Node) -> str:
    """The layer's name: padded graphs name the node by it, packed ones the weight."""
    return _weight(node).partition(".weight")[0] if node.name.startswith(node.op_type) else node.name


def _weight(node: Node) -> str:
    """The name of a product's weight."""
    return node.input[_PRODUCTS[node.op_type]]
