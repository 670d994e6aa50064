"""gRPC's types as servicers see them."""

from typing import Any, TypeAlias

import grpc.aio

# The type stubs make it generic; the class itself is not.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
