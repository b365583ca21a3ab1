# make demo    compile and ask a program over a sample corpus: no key, no download but packages
# make test    what CI runs: check, and beside it the tests
# make quick   check, and the tests that need neither a model nor a process of their own
# make attack the long versions of the tests that attack: docs/reliability.md (an hour or two)
# make fuzz    20,000 each of generated files, rows, tables, filters and questions (half an hour);
#              in pieces that draw others each time: make fuzz FUZZ=2000
# make check   ruff, mypy, README's tree, the site of docs/; make docs shows it   make fix   repair and format what a tool can
# make clean   remove what runs left    make distclean   and the environment too
# The environment is .venv, made on first use; another interpreter: make PYTHON=python3.12 ...

PYTHON ?= python3
FUZZ ?= 20000
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

SHELL := bash
.DEFAULT_GOAL := demo
.PHONY: demo install test every-test checked quick attack fuzz check docs fix clean distclean

demo: $(INSTALLED)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/python_reference/demo.sh

install: $(INSTALLED)

# pip's output is cut down to the packages of a megabyte and more, so that progress can be seen.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  "ragwright needs Python 3.11 or newer, and '$(PYTHON)' is not: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into $(VENV) (some 290 packages, a few minutes, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@set -o pipefail; $(BIN)/python -m pip install --disable-pip-version-check \
	  -c constraints.txt -e '.[compile,dev,files,mcp,mlflow,model,onnx,openvino,pinecone,qdrant,ranker,ray,rerankers,torch,weaviate]' \
	  | { grep --line-buffered -oE '(Downloading|Using cached) .* [MG]B\)?|^Installing collected packages' || true; }
	@touch $@
	@echo "Installed."

test: export HF_HUB_OFFLINE := 1
test: export MLFLOW_DISABLE_TELEMETRY := true
test: export ANONYMIZED_TELEMETRY := False
test: export LITELLM_LOCAL_MODEL_COST_MAP := True
test: export TOKENIZERS_PARALLELISM := false
# mypy takes one core for half a minute: the tests begin beside the checks, which speak when done.
test: $(INSTALLED)
	@$(MAKE) --no-print-directory --jobs 2 every-test checked

# A test starts many processes; without kept bytecode each compiles the package anew.
every-test:
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

checked:
	@said=$$($(MAKE) --no-print-directory check 2>&1) && printf '\nmake check: nothing found\n' \
	  || { printf '\n%s\nmake check: failed\n' "$$said" >&2; exit 1; }

# Files whose tests are pure: selection, statistics, readers of texts and replies, the rules of the tree.
QUICK := tests/test_architecture.py tests/test_public_api.py $(wildcard tests/text) \
  $(addprefix tests/programs/test_,$(addsuffix .py,selection knobs context recipe)) \
  $(addprefix tests/optimize/test_,$(addsuffix .py,statistics ranking retrieval replay data making_questions)) \
  $(addprefix tests/retrievers/test_,$(addsuffix .py,types filters chunk_offsets))

quick: check
	HF_HUB_OFFLINE=1 LITELLM_LOCAL_MODEL_COST_MAP=True $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(QUICK)

attack: export HF_HUB_OFFLINE := 1
attack: export MLFLOW_DISABLE_TELEMETRY := true
attack: export ANONYMIZED_TELEMETRY := False
attack: export LITELLM_LOCAL_MODEL_COST_MAP := True
attack: export TOKENIZERS_PARALLELISM := false
attack: export RAGWRIGHT_KILLS := 60
attack: export RAGWRIGHT_REQUESTS := 10000
attack: export RAGWRIGHT_UNIQUE := 20000
attack: export RAGWRIGHT_COMPILE_ATTACKS := 60
attack: export RAGWRIGHT_RAY := 1
attack: export RAGWRIGHT_SHAPES := 1
attack: $(INSTALLED)
	$(BIN)/python -m pytest --timeout 3600 tests/retrievers/test_crash.py tests/retrievers/test_damage.py \
	  tests/artifacts/test_compile_attacks.py tests/optimize/test_ray_compile.py tests/optimize/test_unruly.py \
	  tests/optimize/test_program_shapes.py \
	  tests/programs/test_faults.py tests/test_ray.py tests/test_terminal.py tests/artifacts/server/test_access.py \
	  tests/artifacts/server/test_background.py tests/artifacts/server/test_hostile.py \
	  tests/artifacts/server/test_server_faults.py tests/artifacts/server/test_slow.py \
	  tests/artifacts/server/test_workers.py

fuzz: export HF_HUB_OFFLINE := 1
fuzz: export MLFLOW_DISABLE_TELEMETRY := true
fuzz: export ANONYMIZED_TELEMETRY := False
fuzz: export LITELLM_LOCAL_MODEL_COST_MAP := True
fuzz: export TOKENIZERS_PARALLELISM := false
fuzz: export RAGWRIGHT_FUZZ := $(FUZZ)
fuzz: $(INSTALLED)
	$(BIN)/python -m pytest --timeout 0 tests/retrievers/test_agreement.py tests/retrievers/test_fuzz.py

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/python docs/tree.py --check || { echo "docs: the tree is out of date, run 'make fix'" >&2; exit 1; }
	$(BIN)/mypy
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs: $(INSTALLED)
	$(BIN)/mkdocs serve

fix: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python docs/tree.py

clean:
	rm -rf .rag build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find artifacts/compiled -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} + 2>/dev/null || true
	find retrievers programs optimize artifacts tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean
	rm -rf $(VENV)
