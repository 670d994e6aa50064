# One verb a task, the same here and in CI.
PYTHON ?= python3
BIN := .venv/bin

# uv where it is installed (`pip install uv`), which takes seconds where pip takes minutes; else pip. uv does not read
# PIP_FIND_LINKS, so it is handed on.
UV := $(shell command -v uv)
ifdef UV
venv = uv venv --quiet --clear --seed --python $(PYTHON) $(1)
install = uv pip install --python $(1)/bin/python $(addprefix --find-links ,$(PIP_FIND_LINKS))
else
venv = rm -rf $(1) && $(PYTHON) -m venv $(1)
install = $(1)/bin/python -m pip install --disable-pip-version-check --no-warn-script-location
endif

# uv compiles nothing that it installs. Python does, the first time that a process imports it, unless told not to; then
# every process compiles PyTorch again, which takes as long as to import it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install optimum tritonclient tools ray lock proto check test demo bench bench-graphs peers soak gpu-check clean

help:  ## show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# The stamp is written last: an environment whose making was interrupted is made again.
.venv/.complete: pyproject.toml requirements/dev.txt
	$(call venv,.venv)
	$(call install,.venv) --requirement requirements/dev.txt
	$(call install,.venv) --no-deps --editable .
	touch $@

install: .venv/.complete  ## make the environment in .venv from pinned versions

# Apart from .venv, and never used by anything but the converter: docs/decisions/011-optimum.md.
.optimum/.complete: requirements/optimum.txt
	$(call venv,.optimum)
	$(call install,.optimum) --requirement $<
	touch $@

optimum: .optimum/.complete  ## make the environment of bertwire export --converter optimum in .optimum

# Apart from .venv, where its protobuf stubs would clash with the server's.
.tritonclient/.complete: requirements/tritonclient.txt
	$(call venv,.tritonclient)
	$(call install,.tritonclient) --requirement $<
	touch $@

tritonclient: .tritonclient/.complete  ## make the environment of the tests with Triton's client in .tritonclient

# Apart from .venv: Locust replaces Python's sockets, and the schemas of Kubernetes are thousands of files.
.tools/.complete: requirements/tools.txt
	$(call venv,.tools)
	$(call install,.tools) --requirement $<
	touch $@

tools: .tools/.complete  ## make the environment of Locust and of the schemas of Kubernetes in .tools, for tests

# Apart from .venv: the product as Ray's users install it, without PyTorch. Compiled here, because the processes of a
# cluster start at once and each would compile all that it imports.
.ray/.complete: pyproject.toml requirements/ray.txt
	$(call venv,.ray)
	$(call install,.ray) --requirement requirements/ray.txt
	$(call install,.ray) --no-deps --editable .
	-.ray/bin/python -m compileall -q -j 0 .ray/lib > /dev/null
	touch $@

ray: .ray/.complete  ## make the environment of the tests with Ray in .ray

lock:  ## pin again what pyproject.toml and requirements/*.in allow; needs uv
	scripts/lock.sh

proto: install  ## write the Python stubs of protos/
	$(BIN)/python scripts/generate_stubs.py

check: install  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two processes, each with whole files: much of a test's time is waiting for servers and commands to start and end.
test: check  ## lint, format, types and all tests
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

demo: install  ## labelled text becomes a service that answers: train, export, serve, score; SHORT=1 for a tenth of it
	$(BIN)/python -m demo $(if $(SHORT),--short)

bench: install  ## the server against raw ONNX Runtime and its bars, on the demo's model; QUICK=1 shorter, AGAINST=REV a commit
	test -d build/demo/vader || $(MAKE) demo
	$(BIN)/python -m bench $(if $(QUICK),--quick) $(if $(AGAINST),--against $(AGAINST))

bench-graphs: install  ## what a text costs in each graph of the demo's model; writes bench/results/
	test -d build/demo/checkpoint || $(MAKE) demo
	$(BIN)/python -m bench.graphs

# Servers of others, each apart from .venv. The interpreter inside Triton fits Python 3.12's library and not every 3.11's.
PEERS := fastapi mlserver mosec pytriton
TRITON_PYTHON ?= python3.12
.peers/pytriton/.complete: PYTHON = $(TRITON_PYTHON)
.peers/%/.complete: requirements/peers/%.txt
	$(call venv,.peers/$*)
	$(call install,.peers/$*) --requirement $<
	touch $@

peers: install $(PEERS:%=.peers/%/.complete)  ## the server beside FastAPI, mosec, MLServer and Triton, on the demo's model
	test -d build/demo/vader || $(MAKE) demo
	$(BIN)/python -m bench.peers

soak: install  ## mixed lengths at full load for SECONDS (600): fails where the server's memory grows by 2%
	test -d build/demo/vader || $(MAKE) demo
	$(BIN)/python -m bench.soak --seconds $(or $(SECONDS),600)

# The pinned environment with ONNX Runtime's build for CUDA in place of the one for CPUs: both own the same module.
.gpu/.complete: pyproject.toml requirements/dev.txt
	$(call venv,.gpu)
	grep -v '^onnxruntime==' requirements/dev.txt > .gpu/requirements.txt
	$(call install,.gpu) --requirement .gpu/requirements.txt --editable '.[gpu]'
	touch $@

gpu-check:  ## the demo's model on a CUDA device: proof and speed against the device's ceiling
	@nvidia-smi > /dev/null 2>&1 || { echo "gpu-check was not run: nvidia-smi finds no CUDA device here" >&2; exit 1; }
	test -d build/demo/checkpoint || $(MAKE) demo
	$(MAKE) .gpu/.complete
	.gpu/bin/python -m bench.gpu

clean:  ## remove what make test, demo, install and optimum left
	rm -rf build .venv .optimum .tritonclient .tools .ray .peers .gpu .mypy_cache .pytest_cache .ruff_cache .hypothesis
