# Thin targets over tools/setup.sh and the CMake presets.
.DEFAULT_GOAL := help
.PHONY: help demo test test-all build bench bench-peers bench-quality oracle format
JOBS := $(shell nproc)

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## Fine-tune SmolLM2 on the CPU and show what it learnt
	@examples/demo/run.sh

build: ## Install what is missing and build build/sophia
	@tools/setup.sh build
	@cmake --preset release --log-level=WARNING
	@cmake --build build -j $(JOBS)

test: ## Build and run every test but the slow ones
	@tools/run_tests.sh

test-all: ## Build and run every test
	@tools/run_tests.sh --slow

bench: build ## Compare speed and memory with torch and JAX, packed rows with unpacked; what checkpoints cost; contexts that fit TPUs
	@tools/setup.sh bench
	@.deps/venv-oracle/bin/python bench/run.py
	@.deps/venv-oracle/bin/python bench/packing.py
	@.deps/venv-oracle/bin/python bench/overhead.py
	@.deps/venv-oracle/bin/python bench/contexts.py

bench-peers: build ## Measure how long a context JAX reaches on a TPU v5e chip, beside ours
	@tools/setup.sh bench
	@.deps/venv-oracle/bin/python bench/contexts.py --rows --peers

bench-quality: build ## Compare the demo's exact match on bf16 weights with that on NF4 weights
	@tools/setup.sh bench
	@.deps/venv-oracle/bin/python bench/quality.py

oracle: build ## Regenerate the committed fixtures that need torch
	@tools/setup.sh oracle
	@.deps/venv-oracle/bin/python tools/oracle/make_fixtures.py
	.deps/venv-oracle/bin/python tools/oracle/check_engine.py build/sophia

format: ## Format every tracked C++ file
	@tools/setup.sh format
	@git ls-files -z '*.h' '*.cc' | xargs -0 -r clang-format -i
