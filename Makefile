# The ways into podkey. Needs Rust, Python 3, a C compiler and make; anything else is fetched into .tools/ when a target
# first needs it, without root.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
MAKEFLAGS += --no-print-directory
export PATH := $(CURDIR)/.tools/bin:$(PATH)

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)

.PHONY: help demo test test-dist postgres manifests chart-tools e2e bench bench-cluster bench-webhook dist lint deny image cluster cluster-down tools clean rust

help: ## this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: .tools/bin/bao ## see a GitHub Actions runner pod get its kubeconfig from a real OpenBao
	@$(CARGO) build --quiet --locked --bins
	$(CARGO) run --quiet --locked --example demo

# Ignored tests are those that need what `make dist` builds.
test: .tools/bin/bao chart-tools postgres ## every test, against a real OpenBao; the static binaries and the image included
	$(CARGO) test --locked
	$(MAKE) test-dist

postgres:
	@.ci/tools postgres

chart-tools:
	@.ci/tools helm kubectl

manifests: chart-tools ## render manifests/podkey.yaml from the chart
	manifests/render >manifests/podkey.yaml.new
	mv manifests/podkey.yaml.new manifests/podkey.yaml

test-dist: dist .tools/bin/bao
	.ci/tools qemu
	tests/image.sh
	PODKEY_DIST=$(CURDIR)/dist $(CARGO) test --locked --tests -- --ignored

# Tests that need the cluster for themselves run last, one at a time.
e2e: rust ## every end-to-end test, in the cluster of `make cluster` or the one of PODKEY_E2E_KUBECONFIG
	.ci/tools helm kubectl postgres
	if [[ -z $${PODKEY_E2E_KUBECONFIG:-} ]]; then
		$(MAKE) dist ARCHES=$(NATIVE_ARCH)
		tests/cluster/cluster up
		set -a; eval "$$(tests/cluster/cluster env)"; set +a
	fi
	if [[ -n $${PODKEY_E2E_CONTROL:-} ]]; then
		.ci/tools kube-oldest
		# Most of these tests wait, so that both API servers cost the time of one.
		PODKEY_TLS_KUBERNETES=1.30 $(CARGO) test --locked --test self_managed & oldest=$$!
		PODKEY_TLS_KUBERNETES=1.37 $(CARGO) test --locked --test self_managed
		wait $$oldest
		for version in 1-30 1-37; do "$$PODKEY_E2E_CONTROL" down self-managed$$version; done
	fi
	$(CARGO) test --locked --test e2e -- --test-threads 6 $(foreach module,$(ALONE),--skip $(module)::)
	$(CARGO) test --locked --test e2e -- --test-threads 1 $(foreach module,$(ALONE),$(module)::)

ALONE := reach faults install_plain pod_end raft burst
NATIVE_ARCH := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,amd64)

bench: .tools/bin/bao ## the measurements that the README quotes
	benches/run

bench-cluster: rust ## what podkey costs a pod, in the cluster of `make cluster` or the one of PODKEY_E2E_KUBECONFIG
	benches/run cluster

# The static binaries: Rust's own musl and linker, and zig as the C compiler for ring, for both machines, whatever machine
# this is. (zig as the linker would put its own allocator and memcpy in: more memory, and slower.) Cargo's home is taken
# out of the paths in panic messages, so that two people's builds are alike; the project's own paths are relative anyway.
# Where the program may be moved in memory, its own addresses are listed in the short form that musl 1.2.4 and newer read.
dist: rust ## static binaries for amd64 and arm64 in dist/
	@.ci/tools zig
	$(foreach arch,$(ARCHES),$(call static,$(arch),$(target-$(arch)),$(zig-$(arch))))

ARCHES ?= amd64 arm64
target-amd64 := x86_64-unknown-linux-musl
target-arm64 := aarch64-unknown-linux-musl
zig-amd64 := x86_64-linux-musl
zig-arm64 := aarch64-linux-musl
define static-flags
export ZIG_TARGET=$(2) CC_$(subst -,_,$(1))=$(CURDIR)/.ci/zig-cc SOURCE_DATE_EPOCH=0
export RUSTFLAGS="-Clink-self-contained=yes -Clinker=rust-lld -Clinker-flavor=ld.lld -Clink-arg=--pack-dyn-relocs=relr --remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=/cargo"
endef
define static
$(call static-flags,$(2),$(3))
$(CARGO) build --quiet --locked --no-default-features --target $(2) --features webhook --release --bin podkey
# Identical functions are kept once, and tables for unwinding are left out: the agent is in every pod.
RUSTFLAGS="$$RUSTFLAGS -Clink-arg=--icf=all -Clink-arg=--no-eh-frame-hdr -Clink-arg=-T.ci/no-unwind-tables.ld" $(CARGO) build --quiet --locked --no-default-features --target $(2) --features agent --profile agent --bin podkey-agent
install -D -m 755 $(TARGET_DIR)/$(2)/release/podkey dist/$(1)/podkey
install -D -m 755 $(TARGET_DIR)/$(2)/agent/podkey-agent dist/$(1)/podkey-agent
for binary in dist/$(1)/podkey dist/$(1)/podkey-agent; do
	if readelf --wide --program-headers $$binary | grep -q INTERP; then
		echo "$$binary is not static" >&2; exit 1
	fi
	printf '%-24s %9d bytes, static\n' $$binary $$(stat -c %s $$binary)
done

endef
# For benches/run: the null handler and the load generator, built as the webhook is; cargo says where.
bench-webhook: rust
	@.ci/tools zig
	$(call static-flags,$(target-$(ARCHES)),$(zig-$(ARCHES)))
	$(CARGO) build --quiet --locked --no-default-features --target $(target-$(ARCHES)) --features webhook --release --bench webhook --message-format json

image: dist ## build the container image from the Dockerfile and look into it (needs buildah)
	tests/image.sh

# The static binaries for this machine go into the cluster's image of podkey.
cluster: ARCHES = $(NATIVE_ARCH)
cluster: dist ## bring up a Kubernetes node and OpenBao on this machine, for the end-to-end tests (root; needs Go, once). VERSION=1.30: that API server alone
	@tests/cluster/cluster up $(if $(VERSION),--kubernetes $(VERSION))

cluster-down: ## end that cluster, and the API servers that tests left; nothing stays behind
	@tests/cluster/cluster down --all

# Clippy also for each program as it is shipped, with its own feature alone.
lint: rust ## formatting, clippy and docs, with warnings denied
	$(CARGO) fmt --check
	$(CARGO) clippy --quiet --locked --all-targets --test e2e --test self_managed -- -D warnings
	$(CARGO) clippy --quiet --locked --no-default-features --features agent -- -D warnings
	$(CARGO) clippy --quiet --locked --no-default-features --features webhook -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --locked --no-deps
	if type -P go >/dev/null; then
		[[ -z $$(gofmt -l tests/cluster tests/arc | tee /dev/stderr) ]]
		go vet -C tests/cluster . && go vet -C tests/arc .
	fi

# The advisory database is a git repository. Where it is out of reach, dependencies are not checked for known vulnerabilities:
# `make deny` fails then, unless PODKEY_DENY_OFFLINE=1 allows that. The last line says whether advisories were checked.
deny: rust ## licences, duplicate and banned crates, advisories (PODKEY_DENY_OFFLINE=1: without advisories where they are out of reach)
	@.ci/tools deny
	cargo-deny --all-features --locked check bans licenses sources
	if cargo-deny --all-features --locked fetch db >/dev/null 2>&1; then
		cargo-deny --all-features --locked check advisories
		echo "deny: advisories checked"
	elif [[ $${PODKEY_DENY_OFFLINE:-} == 1 ]]; then
		echo "deny: ADVISORIES NOT CHECKED: the advisory database is out of reach, and PODKEY_DENY_OFFLINE=1 allows that" >&2
	else
		echo "deny: the advisory database is out of reach: advisories are not checked. Try again with a way to github.com, or set PODKEY_DENY_OFFLINE=1" >&2
		exit 1
	fi

tools: ## fetch everything that the other targets need (buildah, for `make image`, only where that is possible)
	.ci/tools bao postgres zig deny qemu helm kubectl
	.ci/tools buildah || true

clean: ## remove what was built; .tools stays
	$(CARGO) clean
	rm -rf dist

# Runs each time: a bao or vault in PATH is used instead, where there is one.
.PHONY: .tools/bin/bao
.tools/bin/bao: rust
	@.ci/tools bao

rust:
	@type -P $(CARGO) >/dev/null || { echo "Rust is missing: see https://rustup.rs" >&2; exit 1; }
	type -P cc >/dev/null || { echo "a C compiler is missing; on Debian: apt-get install gcc libc6-dev" >&2; exit 1; }
