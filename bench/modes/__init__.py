"""What the client does to the server, a mode a file; each is run in the client's own process by `bench.load`."""
