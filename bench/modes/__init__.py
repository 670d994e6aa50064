"""The client's modes, one a file; `bench.load` runs them in the client's own process."""
