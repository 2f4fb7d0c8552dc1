# PYTHON makes VENV; `VENV=` (empty) uses PYTHON as it is, for hosts that bring torch and ROS
# themselves (Jetson, ROS containers).
PYTHON ?= python3
VENV ?= .venv
BAG ?=

STREET := out/demo/street
ifeq ($(VENV),)
PY := $(PYTHON)
else
PY := $(VENV)/bin/python
RUNTIME := $(VENV)/runtime.stamp
DEV := $(VENV)/dev.stamp
endif

# DDS stays on this machine, in a domain of this run's own (make ROS_DOMAIN_ID=N sets another),
# through shared memory that holds whole images.
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST
# Humble's way; later distributions warn of it.
ifeq ($(ROS_DISTRO),humble)
export ROS_LOCALHOST_ONLY := 1
endif
export ROS_DOMAIN_ID := $(shell echo $$(($$PPID % 101 + 1)))
export FASTRTPS_DEFAULT_PROFILES_FILE := $(CURDIR)/config/fastdds_shared_memory.xml
export FASTDDS_DEFAULT_PROFILES_FILE := $(FASTRTPS_DEFAULT_PROFILES_FILE)
export ROS_LOG_DIR := $(CURDIR)/out/ros_log
export OMP_WAIT_POLICY := PASSIVE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-full gpu lint bench clean

help: ## list the targets
	@awk -F ' *## *' '/^[a-z-]+:.*## / { split($$1, name, ":"); printf "make %-10s %s\n", name[1], $$2 }' Makefile

demo: $(RUNTIME) $(if $(BAG),,$(STREET)/metadata.yaml) ## complete depth live over ROS, from BAG=path or a synthetic street; see out/demo
	$(PY) -m depth_kd_ros.nodes.demo $(or $(BAG),$(STREET))

test: $(DEV) ## run the tests, two files at a time (up to 20 minutes on two cores)
	$(PY) -m pytest -n 2 --dist loadfile

test-full: $(DEV) ## run the tests, the long ones too
	$(PY) -m pytest --full

gpu: $(DEV) ## run the tests that need a CUDA device; fails where there is none
	@$(PY) -c 'import sys, torch; sys.exit(None if torch.cuda.is_available() else f"make gpu: torch {torch.__version__} finds no CUDA device here: nothing was tested")'
	$(PY) -m pytest --full -m gpu

lint: $(DEV) ## check style, format and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: $(DEV) ## measure speed on this machine
	$(PY) test/benchmark.py
	PYTHONPATH=training $(PY) test/benchmark_training.py
	PYTHONPATH=training $(PY) test/benchmark_similarity.py

clean: ## remove everything that make wrote, .venv too
	rm -rf .venv build install log out .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STREET)/metadata.yaml: | $(RUNTIME)
	rm -rf $(STREET)
	$(PY) -m depth_kd_training simulate --format rosbag2 --frames 20 --sensor hdl64e --rig kitti \
	  --seed 4 --out $(STREET)

ifneq ($(VENV),)
$(RUNTIME): requirements/runtime.txt
$(DEV): requirements/runtime.txt requirements/training.txt requirements/dev.txt
$(VENV)/%.stamp: setup.py | $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet -r requirements/$*.txt
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)
endif
