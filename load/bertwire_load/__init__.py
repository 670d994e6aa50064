"""Load tests: send calls at a rate or in a closed loop, and show latency, throughput and errors."""
