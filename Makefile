# Needs: Python 3.11 or newer with pip, make, a C++ compiler. Everything else is installed into .venv.
#
#   make demo      install, generate a data set, run the main job on it, print the scores, write a report
#   make test      install, run the tests
#   make test-long the tests that take minutes each
#   make check     install, run linters, type checker and layer contracts
#   make install   the set-up that all of them share
#   make clean     remove what `make` made

PYTHON ?= python3
VENV ?= .venv
SWIFT_VENV ?= .venv-swift
BIN := $(VENV)/bin
CONSTRAINTS := requirements/constraints.txt
NATIVE_SOURCES := $(wildcard models/*/native/*.cpp models/*/native/*.hpp models/*/*/native/*.cpp models/*/*/native/*.hpp)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install demo test test-long check clean

install: $(VENV)/.installed

demo: install
	$(BIN)/wsss data synthetic --root demo/data
	$(BIN)/wsss run demo

test: install $(SWIFT_VENV)/.installed
	-sh requirements/install_prometheus.sh .prometheus
	SWIFT_VENV=$(SWIFT_VENV) $(BIN)/python -m pytest -n logical --dist loadfile tests/unit
	SWIFT_VENV=$(SWIFT_VENV) $(BIN)/python -m pytest tests/contracts
	SWIFT_VENV=$(SWIFT_VENV) $(BIN)/python -m pytest -n 2 --dist loadfile tests/integration
	SWIFT_VENV=$(SWIFT_VENV) $(BIN)/python -m pytest tests/ray

test-long: install
	$(BIN)/python -m pytest -m long

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(SWIFT_VENV) .prometheus demo build *.egg-info
	find models -name '*.so' -delete

$(VENV)/.installed: pyproject.toml setup.py $(CONSTRAINTS) $(NATIVE_SOURCES) requirements/install_pydensecrf.sh | $(VENV)/.python
	$(BIN)/pip install -q -c $(CONSTRAINTS) setuptools wheel
	$(BIN)/pip install -q -c $(CONSTRAINTS) --no-build-isolation -e ".[dev]"
	sh requirements/install_pydensecrf.sh $(BIN)
	@touch $@

# A real S3 server for the tests, in an environment of its own; where it cannot be had, tests skip and say why.
$(SWIFT_VENV)/.installed: requirements/install_swift.sh requirements/swift-constraints.txt
	-PYTHON=$(PYTHON) sh requirements/install_swift.sh $(SWIFT_VENV)

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; '$(PYTHON)' is older. Say which: make PYTHON=/path/to/python3.11"; exit 2; }
	@command -v $${CXX:-c++} >/dev/null || command -v g++ >/dev/null || \
	  { echo "A C++ compiler is needed (Debian, Ubuntu: apt-get install g++ python3-dev)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@
