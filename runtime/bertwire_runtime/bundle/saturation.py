"""Detection of integer products that can saturate on x86 processors without VNNI, from a graph's weights.

Without VNNI (or AMX) ONNX Runtime multiplies uint8 activations and int8 weights with PMADDUBSW, which adds the products
of weight rows 0 and 1, 2 and 3, and so on, in saturating 16-bit arithmetic. See "Reduce range" in
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html.
"""

from dataclasses import dataclass
from operator import add

from google.protobuf.message import DecodeError

from bertwire.onnx.graph_pb2 import Model, Node
from bertwire_runtime.bundle.errors import BundleError
from bertwire_runtime.bundle.reader import Bundle

_INT8 = 3  # ONNX's TensorProto.DataType
# The integer product operators, with the index of their weight input.
_PRODUCTS = {"MatMulIntegerToFloat": 1, "MatMulInteger": 1, "DynamicQuantizeMatMul": 1, "QLinearMatMul": 3}
# 255 * 128 = 32,640 fits 16 bits, 255 * 129 does not.
_LARGEST_SUM = 128
# Weight bytes of which no two exceed the sum.
_SMALL = bytes(number & 255 for number in range(-_LARGEST_SUM // 2, _LARGEST_SUM // 2 + 1))


@dataclass(frozen=True, slots=True)
class IntegerProducts:
    """The uint8 by int8 products of a graph.

    Attributes:
        count: number of products.
        saturating: the layers that can saturate without VNNI, in graph order.
        unread: number of products whose weights are not constants, so that saturation is unknown.
    """

    count: int
    saturating: tuple[str, ...]
    unread: int = 0

    def __str__(self) -> str:
        """Return the line for `bertwire inspect` and the report."""
        unknown = (
            f"whether {self.unread} of {self.count} integer products can saturate on x86 without VNNI is not known"
        )
        if not self.saturating:
            return (
                unknown
                if self.unread
                else f"none of {self.count} integer products can saturate: exact on every processor"
            )
        some = f"{len(self.saturating)} of {self.count} integer products can saturate"
        return f"{some} on x86 without VNNI: {', '.join(self.saturating)}"


def bundle_products(bundle: Bundle) -> dict[str, IntegerProducts]:
    """Return the integer products of each int8 variant by name; raise `BundleError` where a file is no ONNX graph."""
    found = {}
    for variant in bundle.manifest.variants:
        if variant.precision == "int8":
            try:
                found[variant.name] = integer_products(bundle.read(variant.file))
            except (DecodeError, IndexError, ValueError) as error:
                raise BundleError(f"{bundle.path}: {variant.file.name} is no ONNX graph; export it again") from error
    return found


def integer_products(content: bytes) -> IntegerProducts:
    """Return the integer products of an ONNX file with constant weights."""
    graph = Model.FromString(content).graph
    weights = {each.name: each for each in graph.initializer if each.data_type == _INT8 and each.raw_data}
    products = [node for node in graph.node if node.op_type in _PRODUCTS]
    found = [node for node in products if node.input[_PRODUCTS[node.op_type]] in weights]
    used = {_weight(node) for node in found}  # by name: layers may share a weight
    unsafe = {name for name in used if can_saturate(weights[name].raw_data, weights[name].dims[-1])}
    saturating = tuple(_layer(node) for node in found if _weight(node) in unsafe)
    return IntegerProducts(len(products), saturating, len(products) - len(found))


def can_saturate(weight: bytes, columns: int) -> bool:
    """Whether a product with an int8 weight in row-major order can saturate for some uint8 activations."""
    if not weight.translate(None, _SMALL):
        return False
    numbers = memoryview(weight).cast("b")
    rows = [numbers[start : start + columns] for start in range(0, len(numbers), columns)]
    # An odd last row has no partner. Sums of mixed sign are smaller than their parts.
    pairs = zip(rows[::2], rows[1::2], strict=False)
    sums = (list(map(add, *pair)) for pair in pairs)
    return any(max(each) > _LARGEST_SUM or min(each) < -_LARGEST_SUM for each in sums)


def _layer(node: Node) -> str:
    """Return the layer's name: padded graphs have it in the node, packed ones in the weight."""
    return _weight(node).partition(".weight")[0] if node.name.startswith(node.op_type) else node.name


def _weight(node: Node) -> str:
    return node.input[_PRODUCTS[node.op_type]]
