"""Benchmarks of the server, of the graphs and of their memory."""
