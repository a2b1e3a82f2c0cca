# SPDX-License-Identifier: GPL-2.0-only
# What one does with relocheck, from a fresh Debian machine with cargo and gcc on.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
RELOCHECK := $(TARGET)/debug/relocheck

.PHONY: help prerequisites build run test bench lint mutants

help:
	@echo 'make run            build, fetch four kernels, check each at 16 addresses'
	@echo 'make build          build $(RELOCHECK)'
	@echo 'make test           lint, then all tests'
	@echo 'make lint           formatting, clippy, licences of what we depend on'
	@echo 'make bench          measure speed'
	@echo 'make mutants        see whether unit tests find mistakes in reference and oracles (an hour)'
	@echo 'make prerequisites  install what the build needs (as root), or say what to install'

prerequisites:
	@scripts/prerequisites

build: prerequisites
	$(CARGO) build --locked

run: build
	$(RELOCHECK) corpus fetch default
	@echo '$(RELOCHECK) check --corpus default --bases 16 --seed 1'
	@$(RELOCHECK) check --corpus default --bases 16 --seed 1 || { status=$$?; \
		[ $$status -eq 1 ] || exit $$status; \
		echo 'A divergence is a result: corpus/cases/README.md tells what is known of these kernels.'; }

lint: prerequisites
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny --locked check licenses bans sources; \
	else \
		echo 'lint: cargo-deny is not installed: licences of dependencies are not checked'; \
	fi

# Kernels with their vmlinux, for the tests that need symbols and relocations.
BUILDS := 6.1-x86_64-base-gzip 6.1-i386-base-gzip

# Without kernels the tests that need them skip themselves; that is said here, and again by them.
test: lint build
	@scripts/prerequisites tests
	@$(RELOCHECK) corpus fetch tests || { \
		echo '*** make test: NOT ALL KERNELS COULD BE FETCHED (see above).' >&2; \
		echo '*** make test: tests that need a missing kernel will skip themselves.' >&2; \
	}
	@$(RELOCHECK) corpus build $(BUILDS) || { \
		echo '*** make test: NOT ALL KERNELS COULD BE BUILT (see above).' >&2; \
		echo '*** make test: tests that need a missing kernel will skip themselves.' >&2; \
	}
	$(CARGO) test --locked --doc
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		set -x; $(CARGO) nextest run --locked; \
	else \
		set -x; $(CARGO) test --locked --all-targets; \
	fi

# The dev profile is the one profile there is: the emulator's C core is compiled once.
bench: prerequisites
	$(CARGO) bench --locked --profile dev

# Whether our own unit tests would notice a mistake: harness/MUTANTS.md.
mutants:
	scripts/mutants reference
	scripts/mutants oracle
