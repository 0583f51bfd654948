# Two commands do everything from a bare checkout: `make demo` and `make test`. Each sets itself up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed-for-$(shell cat pyproject.toml setup.py constraints.txt src/attnmask/run/engines/cpu/kernel/*.cpp src/attnmask/run/engines/cpu/kernel/*.h | cksum | cut -d' ' -f1)
export HF_HUB_OFFLINE := 1

.PHONY: help demo test machines fuzz clean

help:  ## Show these commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(INSTALLED):
	@echo "== set-up: installing attnmask with its tested versions into $(VENV) (only the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt 'torch==2.13.0'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@rm -f $(VENV)/installed-for-* && touch $@

demo: $(INSTALLED)  ## Explain a mask, audit four models, write the reports
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python examples/demo.py

test: $(INSTALLED)  ## Style, types, and the whole test-suite
	@echo "== 1/3 style (ruff)"
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "== 2/3 types (mypy, strict)"
	@$(BIN)/mypy
	@echo "== 3/3 tests (pytest)"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

machines: $(INSTALLED)  ## The tests of running, as on processors with AVX-512 with and without products of bfloat16, with AVX2 only, and without a kernel
	@for hidden in amx amx,bf16 avx512,amx avx512,avx2,amx; do \
		echo "== without $$hidden"; \
		ATTNMASK_HIDE=$$hidden OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal tests/run tests/explain tests/model || exit 1; \
	done
	@echo "== torch as on AVX2 (compiled code of its own: what torch caches on disk does not tell instruction sets apart)"
	@folder=$$(mktemp -d) && TORCHINDUCTOR_CACHE_DIR=$$folder ATEN_CPU_CAPABILITY=avx2 ATTNMASK_HIDE=avx512,amx OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal tests/run

fuzz: $(INSTALLED)  ## The property tests with a hundred times the examples
	@HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -q -n 2 tests -k property

clean:  ## Remove what the other commands made
	rm -rf $(VENV) build dist reports src/attnmask/run/engines/cpu/kernel/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
