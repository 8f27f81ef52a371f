# Everything works from a fresh clone: each target brings what it needs. "make" alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install peers demo test check format clean

PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
STUDY ?=
JOBS ?= 2
VENV := .venv
STAMP := $(VENV)/.installed

# One line per peer of the tests: Debian package, then a file or program that shows that it is there.
PEERS := dcmtk:storescp \
         curl:curl \
         openssl:openssl \
         orthanc:Orthanc \
         orthanc-dicomweb:/usr/share/orthanc/plugins/libOrthancDicomWeb.so \
         dicom3tools:dciodvfy \
         libpixelmed-java:/usr/share/java/pixelmed.jar \
         default-jdk-headless:javac \
         postgresql:/usr/lib/postgresql/*/bin/postgres \
         chromium:chromium \
         gcc:gcc

help:  ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

install: $(STAMP)  ## create .venv with RadNode and its developers' tools

# torch first and pinned, so that the build which fits the machine is chosen once and the other packages take it as it is.
$(STAMP): setup.cfg pyproject.toml $(CONSTRAINTS)
	@$(call ensure_python)
	@[ -x $(VENV)/bin/pip ] || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	$(VENV)/bin/pip install --quiet --constraint $(CONSTRAINTS) torch
	$(VENV)/bin/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev]'
	@touch $@

peers:  ## install the real peers of the tests (Debian packages; needs root or sudo)
	@export PATH="$$PATH:/usr/local/sbin:/usr/sbin:/sbin"; \
	wanted=(); \
	for peer in $(foreach peer,$(PEERS),'$(peer)'); do \
	  sign="$${peer#*:}"; \
	  command -v "$$sign" >/dev/null || compgen -G "$$sign" >/dev/null || wanted+=("$${peer%%:*}"); \
	done; \
	if [ $${#wanted[@]} -gt 0 ]; then $(call apt_install,"$${wanted[@]}"); fi

demo: install  ## receive a study, run the model, show the results: make demo [STUDY=FOLDER]
	$(VENV)/bin/radnode demo $(STUDY)

# Each file is run by one of the processes, whole and in its order, for what its tests share; the long ones come first.
test: install peers  ## run the tests
	$(VENV)/bin/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

check: install  ## look for faults without running anything: format, lint, types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

format: install  ## format the code and mend what can be mended by itself
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

clean:  ## remove everything that make and the tools have made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Install Debian packages without a question and without starting their services (Orthanc and PostgreSQL would begin to
# listen on the machine). Where that is not possible, say what is missing and go on: the tests that need it say so too.
define apt_install
packages=($(1)); \
if [ "$$(id -u)" = 0 ]; then as_root=(); else as_root=(sudo -n); fi; \
if ! command -v apt-get >/dev/null || ! "$${as_root[@]}" true 2>/dev/null; then \
  echo "not installed, because it takes apt-get and root: $${packages[*]}" >&2; \
else \
  policy=/usr/sbin/policy-rc.d; \
  if [ ! -e $$policy ]; then \
    trap '"$${as_root[@]}" rm -f /usr/sbin/policy-rc.d' EXIT; \
    printf '#!/bin/sh\nexit 101\n' | "$${as_root[@]}" tee $$policy >/dev/null; \
    "$${as_root[@]}" chmod 755 $$policy; \
  fi; \
  echo "installing $${packages[*]}"; \
  apt=("$${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0); \
  said="$$("$${apt[@]}" update 2>&1 && "$${apt[@]}" install --no-install-recommends "$${packages[@]}" 2>&1)" \
    || { tail -n 20 <<<"$$said"; echo "apt-get could not install $${packages[*]}"; } >&2; \
fi
endef

# Python 3.11 or newer with the venv module, which Debian keeps in a package of its own.
define ensure_python
if ! $(PYTHON) -m venv --help >/dev/null 2>&1 || ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
  $(call apt_install,python3 python3-venv); \
fi; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
  echo "RadNode needs Python 3.11 or newer, and $(PYTHON) is not: make PYTHON=python3.11" >&2; exit 1; }
endef
