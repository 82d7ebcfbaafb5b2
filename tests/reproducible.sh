#!/usr/bin/env bash
# Two builds of the same commit are alike, bit for bit: the static programs of the image, for this machine's architecture (or those
# that ARCHES names). The builds share the Rust toolchain and zig, whose versions are pinned. All else is different: the folder, its
# depth, HOME, cargo's home, the target folder, zig's cache, time zone, language, umask, number of jobs. Ten minutes on two cores.
#
# What it builds is the commit that is checked out, not what is changed in the working copy.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "reproducible: $1" >&2; exit 1; }

.ci/tools zig
tools=$(realpath .tools)
commit=$(git rev-parse HEAD)
rustup_home=$(rustup show home)
toolchain=$(rustup show active-toolchain | cut -d ' ' -f 1)
# A mirror of the registry, if this machine has one.
cargo_config=${CARGO_HOME:-$HOME/.cargo}/config.toml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# build FOLDER JOBS UMASK [NAME=VALUE...]: the programs of this commit in a folder of their own, with an environment of their own.
build() {
    local folder=$1 jobs=$2 mask=$3
    shift 3
    mkdir -p "$folder/home" "$folder/cargo" "$folder/source"
    git archive "$commit" | tar -xf - -C "$folder/source"
    ln -s "$tools" "$folder/source/.tools"
    [[ ! -e $cargo_config ]] || cp "$cargo_config" "$folder/cargo/"
    (
        umask "$mask"
        env HOME="$folder/home" CARGO_HOME="$folder/cargo" RUSTUP_HOME="$rustup_home" RUSTUP_TOOLCHAIN="$toolchain" \
            CARGO_TARGET_DIR="$folder/target" CARGO_BUILD_JOBS="$jobs" CARGO_INCREMENTAL=0 PODKEY_COMMIT="$commit" "$@" \
            make -C "$folder/source" programs ARCHES="$ARCHES"
    )
    mv "$folder/source/dist" "$folder/dist"
    rm -rf "$folder/target" "$folder/cargo"
}

native=$([[ $(uname -m) =~ ^(aarch64|arm64)$ ]] && echo arm64 || echo amd64)
ARCHES=${ARCHES:-$native}
build "$work/a" 2 022 TZ=UTC LC_ALL=C
build "$work/another/and/deeper" 1 077 TZ=Asia/Kathmandu LC_ALL=C.UTF-8 ZIG_GLOBAL_CACHE_DIR="$work/zig"

for program in $(cd "$work/a/dist" && find . -type f | sort); do
    sums=$(sha256sum "$work/a/dist/$program" "$work/another/and/deeper/dist/$program" | cut -d ' ' -f 1 | uniq)
    [[ $(wc -l <<<"$sums") == 1 ]] || {
        cmp "$work/a/dist/$program" "$work/another/and/deeper/dist/$program" >&2 || true
        # The strings in which they differ often name the cause.
        diff <(strings -n 8 "$work/a/dist/$program") <(strings -n 8 "$work/another/and/deeper/dist/$program") | head -20 | cut -c 1-300 >&2 || true
        fail "${program#./} differs between two builds"
    }
    echo "reproducible: $sums  ${program#./}"
done
