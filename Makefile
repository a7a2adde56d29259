# DANet Edge. Every target sets up by itself: `make demo` and `make test` work in a fresh clone.
#
#   make demo       train, export, calibrate, build and stream a small DANet; ends with a table
#                   VIDEO=drive.mp4 then segments that too, by the network that ships
#   make test       the fast tests            make test-all   the slow ones too
#   make check      ruff, mypy, tables        make format     let ruff mend what it can
#   make docs       the site, in build/site   make packages   the four wheels, in build/packages
#   make clean      remove build/             make setup      only install, into .venv
#   make gpu        with a CUDA GPU: correctness, then times, into benchmarks/results/ and the tables

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
DEMO := build/demo

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo test test-all check docs packages format gpu setup clean

# The whole way, as one would type it. A second run replaces what the first one made.
demo: setup
	@mkdir -p $(DEMO)
	danet synthesize $(DEMO)/scenes --seed 0 --overwrite
	danet train --data $(DEMO)/scenes --config demo -o $(DEMO)/checkpoint.pt --overwrite
	danet eval $(DEMO)/checkpoint.pt --data $(DEMO)/scenes --split val
	danet export $(DEMO)/checkpoint.pt --size 128x256 --data $(DEMO)/scenes/video/street.mp4 --kernels sm_87 -o $(DEMO)/bundle --overwrite
	danet calibrate $(DEMO)/bundle --data $(DEMO)/scenes --count 64 --labelled $(DEMO)/scenes -o $(DEMO)/bundle-int8 --overwrite
	danet build $(DEMO)/bundle-int8 --backend tensorrt-rtx:fp16 --target sm_86 --target sm_89 --engine-dir $(DEMO)/engines
	danet build $(DEMO)/bundle-int8 --backend tensorrt-rtx:int8 --target sm_86 --target sm_89 --engine-dir $(DEMO)/engines
	danet run $(DEMO)/bundle-int8 $(DEMO)/scenes/video/street.mp4 --backend onnxruntime:fp32 -o $(DEMO)/overlay.mp4 --overwrite
	@python -m benchmarks.records.demo_table $(DEMO)
ifdef VIDEO
	danet export pretrained:camvid_r18_small --data "$(VIDEO)" -o $(DEMO)/bundle-camvid --overwrite
	danet run $(DEMO)/bundle-camvid "$(VIDEO)" --backend onnxruntime:fp32 -o $(DEMO)/video-overlay.mp4 --overwrite
endif

# Many tests wait, for processes and for time to pass: three at once keep two cores busy. Those that start a
# process want the bytecode that is cached, which some shells forbid to write.
PYTEST := pytest -n 3 --dist worksteal
test test-all: export OMP_NUM_THREADS ?= 1
test test-all: export PYTHONDONTWRITEBYTECODE :=

test: setup
	$(PYTEST) -m "not slow and not gpu" --hypothesis-profile fast

test-all: setup
	$(PYTEST)

check: setup
	ruff check
	ruff format --check
	mypy
	python -m benchmarks.tables --check

# A broken link, a page that is in no menu and a reference to nothing are errors. Nothing is loaded from elsewhere.
docs: setup
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
	@echo "written: build/site/index.html"

# As they would be published; building fetches hatchling from the index.
packages: setup
	rm -rf build/packages
	for package in runtime train export calibration; do python -m build --outdir build/packages $$package || exit 1; done
	twine check --strict build/packages/*

# Where there is no GPU it says so and measures nothing. compute-sanitizer comes with the CUDA toolkit.
gpu: setup
	python -m benchmarks.gpu.run_all

format: setup
	ruff check --fix
	ruff format

setup: $(INSTALLED)

# One pip call: ./export alone would look for its siblings on the index.
$(INSTALLED): constraints.txt tests/requirements.txt runtime/pyproject.toml train/pyproject.toml export/pyproject.toml calibration/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	pip install --disable-pip-version-check -c constraints.txt -r tests/requirements.txt \
		-e "./runtime[onnxruntime,video,tensorrt-rtx,cuda13,signing]" -e "./train[tensorboard]" -e ./export -e ./calibration
	@touch $@

clean:
	rm -rf build
