"""Types of gRPC's servicer interface."""

from typing import Any, TypeAlias

import grpc.aio

# Generic in the type stubs only, hence the string.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
