"""gRPC calls for one event loop, on gRPC's C-core; docs/decisions/020 says why not by `grpc.aio`."""
