# make demo    plays a clip through edge and cloud and shows what happens   (FRAMES=n ends it earlier; KEEP=1 leaves it up to be watched)
# make test    runs all tests, a worker per core and one more               (PYTEST_ARGS='-k spool' chooses)
# make check   style, types, contracts, and that the generated stubs fit the contracts
# make bench   measures speed and cost                                      (BENCH='rate-accuracy ...' chooses)
# make proto   generates the stubs anew after a contract was changed
# make vendor  fetches anew what the viewer ships of others, by the machine's own npm
# make long-run  trains the next codec in the background, on one core, from where it was stopped   (PHOTOS=folders)
# make clean   removes what runs left behind; the environment (.venv) and what was fetched (.cache) stay
#
# Each sets up .venv by itself and needs only Python 3.11 or newer and a package registry.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# Debian's programs that tests need, unpacked here and not installed: Prometheus, ffmpeg, PostgreSQL, Chromium, GStreamer.
TOOLS := .cache/tools
# protoc finds its plug-ins here, and the tests those tools.
export PATH := $(CURDIR)/$(BIN):$(PATH):$(CURDIR)/$(TOOLS)/usr/bin

.PHONY: vendor long-run demo test check bench proto clean assets tools

demo: $(INSTALLED)
	@$(BIN)/python -m deploy.demo

# A file of tests is one worker's: what its fixtures make is made once. One more than cores, as tests wait for services.
WORKERS ?= $(shell expr $$(nproc) + 1)

test: $(INSTALLED) assets tools
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(call generate,$$fresh) \
	  && diff -r --exclude=__pycache__ --exclude=__init__.py shared/icm/v1 "$$fresh/icm/v1" \
	  || { echo "shared/icm/v1 does not fit proto/icm: run 'make proto' and commit what it changes" >&2; exit 1; }

bench: $(INSTALLED)
ifdef BENCH
	$(BIN)/icm-bench $(BENCH)
else
	$(BIN)/icm-bench speed
	$(BIN)/icm-bench cost
endif

# Photos that no commit holds; a run that has packed them once needs them no more.
PHOTOS ?= $(wildcard ../shared/data/train)

vendor: $(INSTALLED)
	$(BIN)/python -m deploy.vendor

long-run: $(INSTALLED)
	@$(BIN)/icm-train long start $(if $(PHOTOS),--photos $(PHOTOS))

proto: $(INSTALLED)
	$(call generate,shared)

clean:
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-data dist
	find . -name __pycache__ -not -path './$(BIN:/bin=)/*' -prune -exec rm -rf {} +

generate = $(BIN)/python -m grpc_tools.protoc -Iproto --python_out=$(1) --grpc_python_out=$(1) \
	--mypy_out=quiet:$(1) --mypy_grpc_out=quiet:$(1) proto/icm/v1/*.proto

$(INSTALLED): pyproject.toml constraints.txt hatch_build.py $(wildcard shared/icm/codec/native/*.[ch])
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[edge,cloud,train,dev]'
	@touch $@

# Weights and clip for the tests that look at real frames. Without them those tests say what they miss.
assets: $(INSTALLED)
	@$(BIN)/python -m icm.testing.assets --weights --clip >/dev/null || echo "going on without detector weights or clip" >&2

tools:
	@bash deploy/fetch-tools $(TOOLS)
