#!/usr/bin/env bash
# Load a server with NVIDIA's perf_analyzer over the Open Inference Protocol:
#   pip install perf-analyzer
#   bench/harness/perf_analyzer.sh sentiment                                   the model's name; 1 to 64 calls in flight
#   bench/harness/perf_analyzer.sh sentiment -u 10.0.0.1:8500 -b 8             options of perf_analyzer go last
set -euo pipefail
model=${1:?give the model\'s name}
exec perf_analyzer -m "$model" -u 127.0.0.1:8500 -i grpc --async \
  --input-data "$(dirname "$0")/perf_analyzer.json" \
  --concurrency-range 1:64:21 --measurement-interval 10000 --percentile 99 "${@:2}"
