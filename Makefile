# Thin: each target is one line a person could type. `make help` lists them.
SHELL := /bin/bash
export CARGO_TARGET_DIR ?= $(HOME)/.cache/smartswitch/target
claimed := $(shell ops/claim $(CARGO_TARGET_DIR))
# Built once, outside the clone: it takes many minutes a profile otherwise.
export ROCKSDB_LIB_DIR := $(shell ops/rocksdb --where)
export ROCKSDB_STATIC := 1
FAST := $(CARGO_TARGET_DIR)/fast
CARGO := cargo
JSON ?=
NAMES ?=

.PHONY: help setup setup-clients rocksdb run test check unit cluster rack top bench-memswitch bench-memcached bench-directory fuzz clean-racks

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: ## Install what is missing (Debian packages, cargo-deny). Needs root only if something is.
	@ops/setup

run: setup ## Build and run the embedded default in the foreground: memcached on 127.0.0.1:11211.
	$(CARGO) run --release -p node -- run

setup-clients: ## The same, and the clients that are tested against the node (Go, Java, Perl, PHP, Python).
	@ops/setup clients

rocksdb: ## Build RocksDB for all builds to come, if it is not there.
	@ops/rocksdb >/dev/null

test: setup-clients check unit cluster ## Everything: format, lints, licenses, unit tests, racks of real parts.

check: rocksdb ## Format, clippy, docs, fuzz targets, licenses and bans.
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy -p node --no-default-features --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --workspace --no-deps
	for crate in $(wildcard */fuzz/Cargo.toml */*/fuzz/Cargo.toml); do \
	  $(CARGO) check --quiet --manifest-path $$crate || exit 1; done
	$(CARGO) deny --log-level error check bans licenses

unit: rocksdb ## Tests that need no namespaces.
	$(CARGO) test --profile fast --workspace --exclude cluster-tests

cluster: rocksdb ## Real servers, clients and packets in network namespaces. Needs root.
	$(CARGO) build --profile fast -p node
	SMARTSWITCH_BIN=$(FAST)/smartswitch $(CARGO) test --profile fast -p cluster-tests

rack: setup ## Build one rack in namespaces that a person can play in. Needs root.
	$(CARGO) build --release -p node -p cluster-tests
	SMARTSWITCH_BIN=$(CARGO_TARGET_DIR)/release/smartswitch $(CARGO_TARGET_DIR)/release/rack

top: rocksdb ## Show live rates of the node on this machine.
	$(CARGO) run --release -p node -- top

bench-memswitch: setup ## Capacity and latency beside testpmd, twemproxy and no middle box. JSON=FILE for scripts.
	$(CARGO) build --release -p node -p cluster-tests
	SMARTSWITCH_BIN=$(CARGO_TARGET_DIR)/release/smartswitch $(CARGO_TARGET_DIR)/release/bench-memswitch $(if $(JSON),--json $(JSON))

bench-memcached: setup ## Cost and latency of a middle box for clients over TCP, beside twemproxy. JSON=FILE for scripts.
	$(CARGO) build --release -p node -p cluster-tests
	SMARTSWITCH_BIN=$(CARGO_TARGET_DIR)/release/smartswitch $(CARGO_TARGET_DIR)/release/bench-memcached $(if $(JSON),--json $(JSON))

bench-directory: setup ## The name directory: 10,000 simulated runs, then beside etcd. JSON=FILE for scripts; NAMES=N for a larger one.
	$(CARGO) build --release -p cluster-tests -p directory-simulation --bin bench-directory --bin simulate-directory
	$(CARGO_TARGET_DIR)/release/bench-directory $(if $(JSON),--json $(JSON)) $(if $(NAMES),--names $(NAMES))

fuzz: ## Fuzz every parser for SECONDS each (60 unless told). Needs a nightly toolchain and cargo-fuzz.
	@ops/fuzz $(or $(SECONDS_EACH),60)
