#!/usr/bin/env bash
# Pins what pyproject.toml allows: requirements/dev.txt for work on this repository, requirements/serve-*.txt for the
# images; requirements/ray.txt for the tests with Ray; and requirements/optimum.in, tritonclient.in, tools.in and
# peers/*.in, for environments of their own. Needs uv on the PATH. Run it after changing a dependency, then
# `make install test`.
set -euo pipefail
cd "$(dirname "$0")/.."

# torch's own CUDA packages stay out: a CUDA build of torch pins and brings them itself, a CPU build needs none.
cuda=(cuda-bindings cuda-pathfinder cuda-toolkit nvidia-{cublas,cuda-cupti,cuda-nvrtc,cuda-runtime,cufft,cufile,curand}
  nvidia-{cusolver,cusparse,nvjitlink,nvtx,cudnn-cu13,cusparselt-cu13,nccl-cu13,nvshmem-cu13} triton)

compile() {
  local out=$1
  shift
  uv pip compile --quiet --universal --python-version 3.11 --no-annotate --upgrade --no-emit-package setuptools \
    --custom-compile-command scripts/lock.sh --output-file "$out" "$@"
}

compile requirements/dev.txt pyproject.toml --extra train --extra xlsx --extra export --extra report --extra tune --extra load --extra serve --extra cpu --group dev \
  --constraint <(echo 'torch==2.13.0') "${cuda[@]/#/--no-emit-package=}"
compile requirements/serve-cpu.txt pyproject.toml --extra serve --extra cpu
compile requirements/serve-gpu.txt pyproject.toml --extra serve --extra gpu
compile requirements/ray.txt pyproject.toml --extra ray --extra cpu
compile requirements/optimum.txt requirements/optimum.in "${cuda[@]/#/--no-emit-package=}"
compile requirements/tritonclient.txt requirements/tritonclient.in
compile requirements/tools.txt requirements/tools.in
for peer in requirements/peers/*.in; do
  compile "${peer%.in}.txt" "$peer"
done
