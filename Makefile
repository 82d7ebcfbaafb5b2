# The ways into podkey. Needs Rust, Python 3, a C compiler and make. A target fetches other tools into .tools/ when it first needs them, most
# without root, some only on Debian 12, with npm or with Go: docs/develop/testing.md says what each target needs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
MAKEFLAGS += --no-print-directory
export PATH := $(CURDIR)/.tools/bin:$(PATH)

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)

.PHONY: help demo dashboard pictures test docs sbom release-files reproducible workflows test-dist postgres jq prometheus manifests chart-tools e2e fuzz chaos soak bench bench-cluster bench-webhook programs dist check-platforms lint deny image cluster cluster-down tools clean rust

help: ## this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

demo: .tools/bin/bao ## see a GitHub Actions runner pod get its kubeconfig from a real OpenBao
	@$(CARGO) build --quiet --locked --bins
	$(CARGO) run --quiet --locked --example demo

# Ignored tests are those that need what `make dist` builds.
test: .tools/bin/bao chart-tools postgres jq prometheus ## every test, against a real OpenBao; the static binaries and the image included
	# Most tests of the agent wait for a server. So more tests run at once than this machine has cores.
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(($$(getconf _NPROCESSORS_ONLN) + 4))} $(CARGO) test --locked
	$(MAKE) test-dist

postgres jq prometheus:
	@.ci/tools $@

# Outside `make test`: mdbook is built from source, once.
docs: rust ## the pages as a book, in dist/book
	@.ci/tools mdbook
	mdbook build docs
	echo "docs: dist/book/index.html"

chart-tools:
	@.ci/tools helm kubectl

manifests: chart-tools ## write the version of Cargo.toml into all files that need it, render manifests/podkey.yaml and the chart's README
	.ci/version
	manifests/render >manifests/podkey.yaml.new
	mv manifests/podkey.yaml.new manifests/podkey.yaml
	manifests/chart-readme >manifests/chart/README.md

test-dist: TOOL_ARCHES = $(NATIVE_ARCH)
test-dist: check-platforms dist .tools/bin/bao
	.ci/tools qemu
	tests/image.sh
	PODKEY_DIST=$(CURDIR)/dist $(CARGO) test --locked --tests -- --ignored

# The picture of the demo is made by hand (`make pictures DEMO=1`), because each run has other ports and times.
pictures: ## draw docs/pictures/*.svg from the texts beside them (needs Go, once); DEMO=1: the demo's picture too
	@.ci/tools d2 rich
	for text in docs/pictures/*.d2; do
		# d2 tells of a success, too.
		said=$$(d2 --bundle=true "$$text" "$${text%.d2}.svg" 2>&1) || { printf '%s\n' "$$text: $$said" >&2; exit 1; }
		chmod 644 "$${text%.d2}.svg"
	done
	if [[ -n '$(DEMO)' ]]; then
		script -qec '$(MAKE) demo' /dev/null </dev/null | PYTHONPATH=.tools/rich python3 docs/pictures/demo.py docs/pictures/demo.svg
	fi

# Tests that need the cluster for themselves run last, one at a time.
e2e: rust ## every end-to-end test, in the cluster of `make cluster` or the one of PODKEY_E2E_KUBECONFIG
	.ci/tools helm kubectl postgres
	if [[ -z $${PODKEY_E2E_KUBECONFIG:-} ]]; then
		$(MAKE) programs ARCHES=$(NATIVE_ARCH)
		tests/cluster/cluster up
		set -a; eval "$$(tests/cluster/cluster env)"; set +a
	fi
	if [[ -n $${PODKEY_E2E_CONTROL:-} ]]; then
		.ci/tools kube-oldest
		# Most of these tests wait, so that both API servers cost the time of one.
		PODKEY_TLS_KUBERNETES=1.30 $(CARGO) test --locked --test self_managed & oldest=$$!
		failed=
		PODKEY_TLS_KUBERNETES=1.37 $(CARGO) test --locked --test self_managed || failed=1.37
		wait $$oldest || failed+=" 1.30"
		for version in 1-30 1-37; do "$$PODKEY_E2E_CONTROL" down self-managed$$version; done
		if [[ -n $$failed ]]; then echo "e2e: self_managed failed with Kubernetes $$failed" >&2; exit 1; fi
	fi
	$(CARGO) test --locked --test e2e -- --test-threads 6 $(foreach module,$(ALONE),--skip $(module)::)
	$(CARGO) test --locked --test e2e -- --test-threads 1 $(foreach module,$(ALONE),$(module)::)

# Beside nothing else: what the node's parts answer to is judged by their processes on this machine.
chaos: rust ## kill the parts of the cluster of `make cluster` at random for MINUTES=60 while pods with secrets are created (SEED=17, RATE=5)
	.ci/tools helm kubectl postgres
	$(MAKE) programs ARCHES=$(NATIVE_ARCH)
	tests/cluster/cluster up
	set -a; eval "$$(tests/cluster/cluster env)"; set +a
	REPORT=$(or $(REPORT),$(TARGET_DIR)/chaos) $(CARGO) test --locked --test chaos -- --nocapture

soak: .tools/bin/bao postgres ## run one sidecar with 16 secrets for LASTS=8h (at least 70m) at a real OpenBao that fails at times; fails if it grows
	$(MAKE) programs ARCHES=$(NATIVE_ARCH)
	mkdir -p $(TARGET_DIR)/soak
	$(CARGO) bench --locked --profile dev --bench soak -- podkey=dist/$(NATIVE_ARCH) $(or $(LASTS),8h) $(TARGET_DIR)/soak/soak.csv $(or $(SEED),17)
	benches/soak/chart $(TARGET_DIR)/soak/soak.csv $(TARGET_DIR)/soak/soak.svg

ALONE := reach faults install_plain pod_end raft burst doctor_webhook
NATIVE_ARCH := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,amd64)

# Clippy of the targets is here and not in `make lint`: they are a workspace of their own, which is built with a C++ compiler.
fuzz: rust ## fuzz every parser that meets bytes from outside, 60 s each (SECONDS=3600 TARGETS="review plan")
	$(CARGO) clippy --quiet --locked --manifest-path fuzz/Cargo.toml --all-targets -- -D warnings
	fuzz/run $(or $(SECONDS),60) $(TARGETS)

# 0.1 is the last version of 22 November 2026.
bench: .tools/bin/bao ## the measurements of docs/develop/benchmarks.md, beside those of 0.1
	benches/run --against 0.1=$$(git rev-list -1 --before=2026-11-23T00:00Z HEAD)

bench-cluster: rust ## what podkey costs a pod, in the cluster of `make cluster` or the one of PODKEY_E2E_KUBECONFIG
	benches/run cluster

# The static binaries: Rust's own musl and linker, and zig as the C compiler for ring, for both machines, whatever machine
# this is. (zig as the linker would put its own allocator and memcpy in: more memory, and slower.) Cargo's home is taken
# out of the paths in panic messages, so that two people's builds are alike; the project's own paths are relative anyway.
# Where the program may be moved in memory, its own addresses are listed in the short form that musl 1.2.4 and newer read.
programs: rust ## the two static binaries of the image, for amd64 and arm64, in dist/
	@.ci/tools zig
	$(foreach arch,$(ARCHES),$(call static,$(arch),$(target-$(arch)),$(zig-$(arch))))

# The tool for workstations has its own profile: it need not be as small and fast as what runs in clusters, and builds in less time.
dist: programs ## the static binaries, the tool kubectl-podkey, its manual pages and completions, in dist/
	@rm -rf dist/man dist/completions
	$(foreach arch,$(TOOL_ARCHES),$(call tool,$(arch),$(target-$(arch)),$(zig-$(arch))))
	# Only a program that was built now makes the pages.
	if [[ -n '$(filter $(NATIVE_ARCH),$(TOOL_ARCHES))' ]]; then dist/$(NATIVE_ARCH)/kubectl-podkey pages dist; fi

sbom: rust ## what is inside the released programs, one list (CycloneDX) for each, from Cargo.lock, in dist/sbom/
	.ci/sbom

release-files: dist sbom ## the files of a release, but for macOS: archives, chart, lists of contents, checksums, in dist/release/
	@.ci/tools helm
	PLATFORMS="$(addprefix linux-,$(ARCHES))" .ci/release files

# Not in `make test`: two builds without a cache take ten minutes.
reproducible: rust ## build the commit twice, in two folders with two environments: the programs must be alike, bit for bit
	tests/reproducible.sh

# The linker puts the functions that `podkey serve` runs side by side, which lowers its memory: .ci/hot-functions makes the list. Only
# names of this form contain the types of a generic function.
webhook-flags := -Csymbol-mangling-version=v0

ARCHES ?= amd64 arm64
# Where the tool for workstations is not needed, `make dist TOOL_ARCHES=` leaves it out.
TOOL_ARCHES ?= $(ARCHES)
target-amd64 := x86_64-unknown-linux-musl
target-arm64 := aarch64-unknown-linux-musl
zig-amd64 := x86_64-linux-musl
zig-arm64 := aarch64-linux-musl
define static-flags
# For `podkey version`, and the same in the image's build, which has no git folder.
export PODKEY_COMMIT="$${PODKEY_COMMIT:-$$(git rev-parse HEAD 2>/dev/null || true)}"
# The C compiler's name has no folder: with a folder in it, cargo builds all crates again in each clone, and in the image's build.
export PATH="$(CURDIR)/.ci:$$PATH" ZIG_TARGET=$(2) CC_$(subst -,_,$(1))=zig-cc SOURCE_DATE_EPOCH=0
export RUSTFLAGS="-Clink-self-contained=yes -Clinker=rust-lld -Clinker-flavor=ld.lld -Clink-arg=--pack-dyn-relocs=relr --remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=/cargo"
endef
define static
$(call static-flags,$(2),$(3))
RUSTFLAGS="$$RUSTFLAGS $(webhook-flags)" $(CARGO) rustc --quiet --locked --no-default-features --target $(2) --features webhook --release --bin podkey -- -Clink-arg=-T.ci/hot-functions.ld
# Identical functions are kept once, and tables for unwinding are left out: the agent is in every pod.
RUSTFLAGS="$$RUSTFLAGS -Clink-arg=--icf=all -Clink-arg=--no-eh-frame-hdr -Clink-arg=-T.ci/no-unwind-tables.ld" $(CARGO) build --quiet --locked --no-default-features --target $(2) --features agent --profile agent --bin podkey-agent
install -D -m 755 $(TARGET_DIR)/$(2)/release/podkey dist/$(1)/podkey
install -D -m 755 $(TARGET_DIR)/$(2)/agent/podkey-agent dist/$(1)/podkey-agent
for binary in dist/$(1)/podkey dist/$(1)/podkey-agent; do
	headers=$$(readelf --wide --program-headers $$binary)
	if [[ $$headers == *INTERP* ]]; then echo "$$binary is not static" >&2; exit 1; fi
	printf '%-24s %9d bytes, static\n' $$binary $$(stat -c %s $$binary)
done

endef
define tool
$(call static-flags,$(2),$(3))
$(CARGO) build --quiet --locked --no-default-features --target $(2) --features cli --profile tool --bin podkey
install -D -m 755 $(TARGET_DIR)/$(2)/tool/podkey dist/$(1)/kubectl-podkey
headers=$$(readelf --wide --program-headers dist/$(1)/kubectl-podkey)
if [[ $$headers == *INTERP* ]]; then echo "dist/$(1)/kubectl-podkey is not static" >&2; exit 1; fi
printf '%-24s %9d bytes, static\n' dist/$(1)/kubectl-podkey $$(stat -c %s dist/$(1)/kubectl-podkey)

endef

# The tool for workstations also runs where podkey's containers do not: the compiler checks it for Windows and macOS. zig compiles ring's C.
check-platforms: rust ## check that the tool for workstations compiles for Windows and macOS
	@.ci/tools zig platforms
	$(foreach platform,$(PLATFORMS),$(call check-platform,$(platform)))

PLATFORMS := x86_64-pc-windows-gnu=x86_64-windows-gnu x86_64-apple-darwin=x86_64-macos
define check-platform
if rustc --print target-libdir --target $(firstword $(subst =, ,$(1))) | xargs test -d; then
	PATH="$(CURDIR)/.ci:$$PATH" ZIG_TARGET=$(lastword $(subst =, ,$(1))) CC_$(subst -,_,$(firstword $(subst =, ,$(1))))=zig-cc \
		$(CARGO) check --quiet --locked --no-default-features --features cli --bin podkey --target $(firstword $(subst =, ,$(1)))
	echo "check-platforms: $(firstword $(subst =, ,$(1))) compiles"
else
	echo "check-platforms: $(firstword $(subst =, ,$(1))) NOT checked: Rust's standard library for it is out of reach" >&2
fi

endef

# For benches/run: the null handler and the load generator, built as the webhook is; cargo says where.
bench-webhook: rust
	@.ci/tools zig
	$(call static-flags,$(target-$(ARCHES)),$(zig-$(ARCHES)))
	RUSTFLAGS="$$RUSTFLAGS $(webhook-flags)" $(CARGO) build --quiet --locked --no-default-features --target $(target-$(ARCHES)) --features webhook --release --bench webhook --message-format json

dashboard: ## draw docs/pictures/dashboard.svg anew from real data, in the cluster of `make cluster` (20 minutes; needs Go, once)
	@docs/pictures/dashboard/record

image: programs ## build the container image from the Dockerfile and look into it (needs buildah)
	tests/image.sh

# The static binaries for this machine go into the cluster's image of podkey.
cluster: ARCHES = $(NATIVE_ARCH)
cluster: programs ## bring up a Kubernetes node and OpenBao on this machine, for the end-to-end tests (root; needs Go, once). VERSION=1.30: that API server alone
	@tests/cluster/cluster up $(if $(VERSION),--kubernetes $(VERSION))

cluster-down: ## end that cluster, and the API servers that tests left; nothing stays behind
	@tests/cluster/cluster down --all

# Clippy also for each program as it is shipped, with its own feature alone.
lint: rust ## formatting, clippy and docs, with warnings denied
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) clippy --quiet --locked --all-targets --test e2e --test self_managed --test chaos -- -D warnings
	$(CARGO) clippy --quiet --locked --no-default-features --features agent -- -D warnings
	$(CARGO) clippy --quiet --locked --no-default-features --features webhook -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --locked --no-deps
	if type -P go >/dev/null; then
		[[ -z $$(gofmt -l tests/cluster tests/arc | tee /dev/stderr) ]]
		go vet -C tests/cluster . && go vet -C tests/arc .
	fi

# Not part of `make lint`, which needs no registry: the two tools come from the Go proxy and from PyPI.
# Without shellcheck, which some machines have and others have not.
workflows: ## actionlint and zizmor look at .github/workflows (needs Go, once)
	@.ci/tools actionlint zizmor
	actionlint -shellcheck=
	zizmor --offline --quiet .github

# The advisory database is a git repository. Where it is out of reach, dependencies are not checked for known vulnerabilities:
# `make deny` fails then, unless PODKEY_DENY_OFFLINE=1 allows that. The last line says whether advisories were checked.
deny: rust ## licences, duplicate and banned crates, advisories (PODKEY_DENY_OFFLINE=1: without advisories where they are out of reach)
	@.ci/tools deny
	cargo-deny --all-features --locked check bans licenses sources
	cargo-deny --manifest-path fuzz/Cargo.toml --config deny.toml --locked check licenses sources
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
	if type -P go >/dev/null; then .ci/tools actionlint zizmor; fi

clean: ## remove what was built; .tools stays
	$(CARGO) clean
	rm -rf dist

# Runs each time: a bao or vault in PATH is used instead, where there is one.
.PHONY: .tools/bin/bao
.tools/bin/bao: rust
	@.ci/tools bao

rust:
	@type -P $(CARGO) >/dev/null || { echo "Rust is missing: see https://rustup.rs" >&2; exit 1; }
	# The version that rust-toolchain.toml names. Not every rustup installs it without being told.
	$(CARGO) --version >/dev/null 2>&1 || rustup toolchain install
	type -P cc >/dev/null || { echo "a C compiler is missing; on Debian: apt-get install gcc libc6-dev" >&2; exit 1; }
